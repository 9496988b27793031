#!/usr/bin/env escript
%% Erlang/OTP's megaco as an encoder and as a judge.
%%
%%   corpus.escript encode FILE   each message of FILE, in each encoding, a line:
%%                                NAME VERSION ENCODING HEX, or NAME VERSION
%%                                ENCODING - REASON
%%   corpus.escript time FILE MS  the same, and after HEX the ns that decoding it takes,
%%                                measured for MS ms: of text with the scanner in
%%                                Erlang and with the one in C (flex); of BER with
%%                                names left as octets
%%   corpus.escript compare       reads lines VERSION HEX HEX of BER, answers each
%%                                with `same`, `different` or `unreadable`
-mode(compile).

main(["encode", File]) ->
    {ok, Bytes} = file:read_file(File),
    [encode(Message, Version, Encoding)
     || Message = {_, Versions, _, _} <- messages(binary_to_list(Bytes)),
        Version <- Versions, Encoding <- [pretty, compact, ber]],
    [own(Case) || Case <- own_terms()];
main(["time", File, Ms]) ->
    {ok, Flex} = megaco_flex_scanner:start(),
    put(timed, {Flex, list_to_integer(Ms) * 1000000}),
    main(["encode", File]);
main(["compare"]) ->
    compare().

%% {Name, Versions, TextOnly, Text} for each of the file's messages.
messages(File) ->
    [_ | Parts] = string:split(File, "\n== ", all),
    [begin
         [Head, Text] = string:split(Part, "\n"),
         [Name, Versions | Flags] = string:tokens(Head, " "),
         {Name, [Digit - $0 || Digit <- Versions], lists:member("text", Flags), Text}
     end || Part <- Parts].

encode({Name, _, TextOnly, _}, Version, ber) when TextOnly ->
    refused(Name, Version, ber, "not in Annex A");
encode({Name, _, _, Text0}, Version, Encoding) ->
    Text = lists:flatten(string:replace(Text0, "$V", integer_to_list(Version), all)),
    case megaco_pretty_text_encoder:decode_message([], dynamic, list_to_binary(Text)) of
        {ok, Message} -> put_out(Name, Version, Encoding, write(Encoding, Version, Message));
        {error, Reason} -> refused(Name, Version, Encoding, Reason)
    end.

write(pretty, Version, Message) ->
    megaco_pretty_text_encoder:encode_message([], Version, Message);
write(compact, Version, Message) ->
    megaco_compact_text_encoder:encode_message([], Version, Message);
write(ber, Version, Message) ->
    megaco_ber_encoder:encode_message([], Version, Message).

put_out(Name, Version, Encoding, {ok, Bytes}) ->
    Times = case get(timed) of
                undefined -> "";
                Timed -> [io_lib:format(" ~b", [Ns]) || Ns <- timed(Encoding, Version, Bytes, Timed)]
            end,
    io:format("~s ~b ~s ~s~s~n", [Name, Version, Encoding, hex(Bytes), Times]);
put_out(Name, Version, Encoding, {error, Reason}) ->
    refused(Name, Version, Encoding, Reason).

refused(Name, Version, Encoding, Reason) ->
    Line = [case C of $\n -> $\s; _ -> C end || C <- lists:flatten(io_lib:format("~0p", [Reason]))],
    io:format("~s ~b ~s - ~s~n", [Name, Version, Encoding, lists:sublist(Line, 300)]).

hex(Bytes) ->
    [io_lib:format("~2.16.0b", [Octet]) || <<Octet>> <= iolist_to_binary(Bytes)].

unhex(Text) ->
    << <<(list_to_integer([A, B], 16))>> || [A, B] <- pairs(Text) >>.

pairs([A, B | Rest]) -> [[A, B] | pairs(Rest)];
pairs([]) -> [].

timed(ber, Version, Bytes, {_, Limit}) ->
    [per_turn(fun() -> {ok, _} = megaco_ber_encoder:decode_message([native], Version, Bytes) end,
              Limit)];
timed(Encoding, Version, Bytes, {Flex, Limit}) ->
    Module = case Encoding of
                 pretty -> megaco_pretty_text_encoder;
                 compact -> megaco_compact_text_encoder
             end,
    %% Some of what it writes it does not read: no time.
    [case Module:decode_message(Config, Version, Bytes) of
         {ok, _} ->
             per_turn(fun() -> {ok, _} = Module:decode_message(Config, Version, Bytes) end, Limit);
         _ -> 0
     end
     || Config <- [[], [{flex, Flex}]]].

%% ns that Fun takes: turns in growing numbers until one lot takes half the limit.
per_turn(Fun, Limit) -> per_turn(Fun, 1, Limit div 2).

per_turn(Fun, Turns, Limit) ->
    Start = erlang:monotonic_time(nanosecond),
    turn(Fun, Turns),
    case erlang:monotonic_time(nanosecond) - Start of
        Took when Took >= Limit -> Took div Turns;
        _ -> per_turn(Fun, Turns * 2, Limit)
    end.

turn(_, 0) -> ok;
turn(Fun, Turns) -> Fun(), turn(Fun, Turns - 1).

%% What text has no way to say, or Erlang does not read as text: terms of the ASN.1
%% types, their names in octets for BER.
own_terms() ->
    Line = fun(Item, Value) -> {'PropertyParm', [0, 0 | Item], [Value], asn1_NOVALUE} end,
    Ia5 = fun(Text) -> [16#16, length(Text) | Text] end,
    Sdp = fun(Form) ->
              [[Line([16#b0, 1], Form("0")), Line([16#b0, 8], Form("IN IP4 10.71.1.11")),
                Line([16#b0, 15], Form("audio 4000 RTP/AVP 8"))]]
          end,
    Native = [[Line([16#60, 1], [10, 71, 1, 11]), Line([16#60, 3], [16#0f, 16#a0])]],
    Mixed = [[Line([16#10, 1], [0]) | hd(Sdp(Ia5))]],
    Ids = [octets(1), octets(2)],
    [{"values-in-ia5-strings", 1, ber, add(1, Sdp(Ia5))},
     {"values-as-they-are", 2, ber, add(2, Sdp(fun(Text) -> Text end))},
     {"address-and-port-of-annex-c", 1, ber, add(1, Native)},
     {"lines-beside-other-properties", 3, ber, add(3, Mixed)},
     {"digit-map-names", 2, ber, digit_map()},
     {"ipv6-octets", 1, ber, pending({ip6Address, {'IP6Address', lists:seq(1, 16), 2945}})},
     {"audit-of-a-list", 3, ber, audit_of_a_list(Ids)},
     %% Two in text would run into one another: Erlang puts nothing between them.
     {"segments", 3, pretty, replies([path(1), path(2)]) ++ [acknowledged(52, 4, 'NULL')]},
     {"segments", 3, compact, replies([path(1), path(2)]) ++ [acknowledged(52, 4, 'NULL')]},
     {"segments", 3, ber, replies(Ids) ++ [acknowledged(51, 3, asn1_NOVALUE),
                                           acknowledged(52, 4, 'NULL')]}].

own({Name, Version, Encoding, Transactions}) ->
    {Mid, Body} = case Transactions of
                      {of_mid, OfMid, All} -> {OfMid, All};
                      All when Encoding =:= ber -> {{mtpAddress, [1, 2, 3]}, All};
                      All -> {{deviceName, "gw1"}, All}
                  end,
    Message = {'MegacoMessage', asn1_NOVALUE, {'Message', Version, Mid, {transactions, Body}}},
    Written = case Encoding of
                  ber -> megaco_ber_encoder:encode_message([native], Version, Message);
                  _ -> write(Encoding, Version, Message)
              end,
    put_out(Name, Version, Encoding, Written).

octets(Last) -> {'TerminationID', [], [1, 2, 3, 4, 5, 6, 7, Last]}.

path(Last) -> {megaco_term_id, false, ["line", integer_to_list(Last)]}.

pending(Mid) -> {of_mid, Mid, [{transactionPending, {'TransactionPending', 128}}]}.

request(Id, Command) ->
    Action = {'ActionRequest', 16#fffffffe, asn1_NOVALUE, asn1_NOVALUE, [Command]},
    {transactionRequest, {'TransactionRequest', Id, [Action]}}.

add(Version, Groups) ->
    Stream = stream_parms(Version, {'LocalRemoteDescriptor', Groups}),
    Media = {mediaDescriptor, {'MediaDescriptor', asn1_NOVALUE, {oneStream, Stream}}},
    Choose = {'TerminationID', [[16#57]], [0, 0, 0]},
    [request(Id, {'CommandRequest', {addReq, {'AmmRequest', [Termination], [Media]}},
                  asn1_NOVALUE, 'NULL'})
     || {Id, Termination} <- [{7, octets(8)}, {16#ffffffff, Choose}]].

stream_parms(3, Local) -> {'StreamParms', asn1_NOVALUE, Local, asn1_NOVALUE, asn1_NOVALUE};
stream_parms(_, Local) -> {'StreamParms', asn1_NOVALUE, Local, asn1_NOVALUE}.

digit_map() ->
    Value = {'DigitMapValue', 1, asn1_NOVALUE, 99, "(0|00)", 7},
    Map = {digitMapDescriptor, {'DigitMapDescriptor', [16#ab, 16#cd], Value}},
    [request(8, {'CommandRequest', {modReq, {'AmmRequest', [octets(1)], [Map]}},
                 asn1_NOVALUE, asn1_NOVALUE})].

audit_of_a_list(Ids) ->
    Audit = {'AuditDescriptor', [packagesToken, mediaToken], asn1_NOVALUE},
    [request(9, {'CommandRequest', {auditValueRequest, {'AuditRequest', hd(Ids), Audit, Ids}},
                 asn1_NOVALUE, asn1_NOVALUE})].

replies(Ids) ->
    Replies = [{modReply, {'AmmsReply', [Id], asn1_NOVALUE}} || Id <- Ids],
    Action = {'ActionReply', 17, asn1_NOVALUE, asn1_NOVALUE, Replies},
    Reply = fun(Number, Complete) ->
                {transactionReply, {'TransactionReply', 50, asn1_NOVALUE,
                                    {actionReplies, [Action]}, Number, Complete}}
            end,
    [Reply(1, asn1_NOVALUE), Reply(2, 'NULL')].

acknowledged(Id, Number, Complete) ->
    {segmentReply, {'SegmentReply', Id, Number, Complete}}.

compare() ->
    case io:get_line("") of
        eof -> ok;
        Line ->
            [Version, One, Other] = string:tokens(string:trim(Line), " "),
            Read = fun(Hex) ->
                       catch megaco_ber_encoder:decode_message(
                               [native], list_to_integer(Version), unhex(Hex))
                   end,
            io:format("~s~n", [verdict(Read(One), Read(Other))]),
            compare()
    end.

verdict({ok, Message}, {ok, Message}) -> "same";
verdict({ok, One}, {ok, Other}) ->
    case os:getenv("SHOW") of false -> ok; _ -> io:format(standard_error, "~p~n~p~n", [One, Other]) end,
    "different";
verdict(One, Other) ->
    case os:getenv("SHOW") of false -> ok; _ -> io:format(standard_error, "~p~n~p~n", [One, Other]) end,
    "unreadable".
