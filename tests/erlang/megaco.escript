#!/usr/bin/env escript
%% Erlang/OTP's megaco as a media gateway controller, as a media gateway, and as a thin
%% client that is one: its own engine and transports, our users on top. Protocol
%% version 1.
%%
%%   megaco.escript mgc OWN-IP TRANSPORT ENCODING
%%   megaco.escript mg OWN-IP TRANSPORT ENCODING MGC-IP
%%   megaco.escript tc OWN-IP TRANSPORT ENCODING MGC-IP MGC-PORT
%%
%% TRANSPORT is udp or tcp, ENCODING pretty, compact or ber; ports are the standard's
%% where none is given.
%% What happens is told in lines on standard output; standard input takes commands:
%%
%%   mgc  add IP PORT     a context of a line and an RTP termination whose Remote is
%%                        there; `added CONTEXT IP PORT` tells the Local it got
%%        accept IP PORT  the same for a line that calls: it is not rung
%%        signal NAME...  signals of the line, in place of those before; `modified`
%%        remote IP PORT  another Remote
%%        audit           `audit IP PORT`: the RTP termination's Remote, as told
%%        subtract        all of the context; `subtracted`
%%        calls N M IP PORT  N times add and subtract, M at once; `calls N US`
%%   mg   off-hook        a Notify of al/of; `notified`
%%   tc   off-hook, on-hook
%%
%%   any  formats LIST    payload types of descriptions from now on (8); `formats`
%%
%% A gateway tells `remote IP PORT` and `signals NAME...` as it is told them, and
%% `local IP PORT`: where it receives the context that is made.
-mode(compile).

-export([handle_connect/2, handle_connect/3, handle_disconnect/3, handle_syntax_error/3,
         handle_message_error/3, handle_trans_request/3, handle_trans_long_request/3,
         handle_trans_reply/4, handle_trans_ack/4, handle_unexpected_trans/3,
         handle_trans_request_abort/4]).

-define(NONE, asn1_NOVALUE).
-define(CHOOSE_CONTEXT, 16#fffffffe).

main(["mgc", Own, Transport, Encoding]) ->
    start(Own, Encoding),
    {Port, Handle} = receive_handle(Own, Transport, Encoding),
    ok = listen(Transport, Port, Handle),
    tell("listening", []),
    commands(fun mgc/1);
main(["mg", Own, Transport, Encoding, Mgc]) ->
    gateway(Own, Transport, Encoding, Mgc, integer_to_list(port_of(Encoding)));
main(["tc", Own, Transport, Encoding, Mgc, MgcPort]) ->
    gateway(Own, Transport, Encoding, Mgc, MgcPort).

gateway(Own, Transport, Encoding, Mgc, MgcPort) ->
    start(Own, Encoding),
    {Port, Handle} = receive_handle(Own, Transport, Encoding),
    {Connection, Control} = connect(Transport, Port, Handle, Mgc, list_to_integer(MgcPort)),
    {ok, Peer} = megaco:connect(Handle, preliminary_mid, Connection, Control),
    put(peer, Peer),
    {ok, _} = called([action(0, [service_change()])]),
    tell("registered", []),
    commands(fun mg/1).

start(Own, Encoding) ->
    ok = application:start(megaco),
    ets:new(state, [named_table, public]),
    ets:insert(state, [{own, Own}, {encoding, Encoding}, {contexts, 0}, {formats, " 8"}]).

port_of("ber") -> 2945;
port_of(_) -> 2944.

receive_handle(Own, Transport, Encoding) ->
    Port = port_of(Encoding),
    Mid = {ip4Address, {'IP4Address', octets(Own), Port}},
    ok = megaco:start_user(Mid, [{user_mod, ?MODULE}, {user_args, []}]),
    {megaco_receive_handle, Mid, _, _, _, Version} = megaco:user_info(Mid, receive_handle),
    Encoder = case Encoding of
                  "pretty" -> megaco_pretty_text_encoder;
                  "compact" -> megaco_compact_text_encoder;
                  "ber" -> megaco_ber_encoder
              end,
    Sender = case Transport of "udp" -> megaco_udp; "tcp" -> megaco_tcp end,
    {Port, {megaco_receive_handle, Mid, Encoder, [], Sender, Version}}.

listen("udp", Port, Handle) ->
    {ok, Transport} = megaco_udp:start_transport(),
    {ok, _, _} = megaco_udp:open(Transport, [{port, Port}, {receive_handle, Handle}]),
    ok;
listen("tcp", Port, Handle) ->
    {ok, Transport} = megaco_tcp:start_transport(),
    megaco_tcp:listen(Transport, [{port, Port}, {receive_handle, Handle}]).

connect("udp", Port, Handle, Mgc, MgcPort) ->
    {ok, Transport} = megaco_udp:start_transport(),
    {ok, Socket, Control} = megaco_udp:open(Transport, [{port, Port}, {receive_handle, Handle}]),
    {megaco_udp:create_send_handle(Socket, list_to_tuple(octets(Mgc)), MgcPort), Control};
connect("tcp", _, Handle, Mgc, MgcPort) ->
    {ok, Transport} = megaco_tcp:start_transport(),
    {ok, Socket, Control} = megaco_tcp:connect(
        Transport, [{host, list_to_tuple(octets(Mgc))}, {port, MgcPort}, {receive_handle, Handle}]),
    {Socket, Control}.

octets(Ip) -> [list_to_integer(Part) || Part <- string:tokens(Ip, ".")].

tell(Format, Arguments) -> io:format(Format ++ "~n", Arguments).

commands(Do) ->
    case io:get_line("") of
        eof -> ok;
        Line ->
            case string:tokens(string:trim(Line), " ") of
                ["formats" | Formats] ->
                    ets:insert(state, {formats, lists:append([" " ++ Format || Format <- Formats])}),
                    tell("formats", []);
                Words -> Do(Words)
            end,
            commands(Do)
    end.

%% ---- The controller's commands.

mgc(["add", Ip, Port]) ->
    added(add([signal("al/ri")], Ip, Port));
mgc(["accept", Ip, Port]) ->
    added(add([], Ip, Port));
mgc(["signal" | Names]) ->
    {ok, _} = called([action(context(), [modify(line(), [signals(Names)])])]),
    tell("modified", []);
mgc(["remote", Ip, Port]) ->
    Media = media_descriptor(stream(?NONE, ?NONE, description(Ip, Port))),
    {ok, _} = called([action(context(), [modify(rtp(), [Media])])]),
    tell("modified", []);
mgc(["audit"]) ->
    Audit = {'AuditRequest', rtp(), {'AuditDescriptor', [mediaToken]}},
    Command = {'CommandRequest', {auditValueRequest, Audit}, ?NONE, ?NONE},
    {ok, [{'ActionReply', _, _, _, [{auditValueReply, {auditResult, Result}}]}]} =
        called([action(context(), [Command])]),
    {'AuditResult', _, [{mediaDescriptor, {'MediaDescriptor', _, {_, Streams}}} | _]} = Result,
    {Ip, Port} = media(remote_of(Streams)),
    tell("audit ~s ~s", [Ip, Port]);
mgc(["subtract"]) ->
    subtract(context()),
    tell("subtracted", []);
mgc(["calls", Count, AtOnce, Ip, Port]) ->
    N = list_to_integer(Count),
    M = list_to_integer(AtOnce),
    Each = fun() ->
               [begin {Context, _} = add([signal("al/ri")], Ip, Port), subtract(Context) end || _ <- lists:seq(1, N div M)]
           end,
    Started = erlang:monotonic_time(microsecond),
    Callers = [spawn_monitor(Each) || _ <- lists:seq(1, M)],
    [receive {'DOWN', Caller, process, Pid, normal} -> ok end || {Pid, Caller} <- Callers],
    tell("calls ~b ~b", [N div M * M, erlang:monotonic_time(microsecond) - Started]).

added({Context, Local}) ->
    ets:insert(state, {context, Context}),
    {Ip, Port} = media(Local),
    tell("added ~b ~s ~s", [Context, Ip, Port]).

context() -> ets:lookup_element(state, context, 2).
rtp() -> ets:lookup_element(state, rtp, 2).

%% Steps 504, 604: the line and an RTP termination that is told the user's media; 505,
%% 605: what the gateway receives by.
add(OfLine, Ip, Port) ->
    Rtp = media_descriptor(stream(mode(), description("$", "$"), description(Ip, Port))),
    Commands = [command(addReq, line(), OfLine), command(addReq, choose(), [Rtp])],
    {ok, [{'ActionReply', Context, ?NONE, _, Replies}]} = called([action(?CHOOSE_CONTEXT, Commands)]),
    [{addReply, _}, {addReply, {'AmmsReply', [Id], [{mediaDescriptor, Media}]}}] = Replies,
    ets:insert(state, {rtp, Id}),
    {'MediaDescriptor', _, {_, Streams}} = Media,
    {Context, local_of(Streams)}.

subtract(Context) ->
    Command = {'CommandRequest', {subtractReq, {'SubtractRequest', [all()], ?NONE}}, ?NONE, 'NULL'},
    {ok, _} = called([action(Context, [Command])]).

called(Actions) ->
    Peer = case ets:lookup(state, peer) of [{peer, Known}] -> Known; [] -> get(peer) end,
    {_, Reply} = megaco:call(Peer, Actions, []),
    Reply.

%% ---- The gateway's commands.

mg(["off-hook"]) -> notify("al/of");
mg(["on-hook"]) -> notify("al/on").

notify(Name) ->
    Event = {'ObservedEvent', Name, ?NONE, [], ?NONE},
    Events = {'ObservedEventsDescriptor', 1, [Event]},
    Command = {'CommandRequest', {notifyReq, {'NotifyRequest', [line()], Events, ?NONE}}, ?NONE, ?NONE},
    %% In the context that the line is in: the last that was made, if any.
    {ok, _} = called([action(ets:lookup_element(state, contexts, 2), [Command])]),
    tell("notified", []).

service_change() ->
    Parameters = {'ServiceChangeParm', restart, ?NONE, ?NONE, ?NONE, [value("901 Cold Boot")], ?NONE, ?NONE,
                  ?NONE, ?NONE},
    {'CommandRequest', {serviceChangeReq, {'ServiceChangeRequest', [root()], Parameters}}, ?NONE, ?NONE}.

%% ---- Terms.

action(Context, Commands) -> {'ActionRequest', Context, ?NONE, ?NONE, Commands}.

command(Kind, Termination, Descriptors) ->
    {'CommandRequest', {Kind, {'AmmRequest', [Termination], Descriptors}}, ?NONE, ?NONE}.

modify(Termination, Descriptors) -> command(modReq, Termination, Descriptors).

root() -> {megaco_term_id, false, ["root"]}.
all() -> {megaco_term_id, true, ["*"]}.
choose() -> {megaco_term_id, true, ["$"]}.
line() -> termination(1, 1).
termination(Kind, Number) -> {megaco_term_id, false, [bits(Kind), bits(0), bits(Number)]}.
bits(Number) -> lists:flatten(io_lib:format("~8.2.0b", [Number band 255])).

signal(Name) -> signals([Name]).

signals(Names) ->
    Signal = fun(Name) -> {signal, {'Signal', Name, ?NONE, ?NONE, ?NONE, ?NONE, ?NONE, []}} end,
    {signalsDescriptor, lists:map(Signal, Names)}.

mode() -> {'LocalControlDescriptor', sendRecv, ?NONE, ?NONE, []}.

stream(Control, Local, Remote) -> {'StreamParms', Control, Local, Remote}.

media_descriptor(Stream) ->
    {mediaDescriptor, {'MediaDescriptor', ?NONE, {multiStream, [{'StreamDescriptor', 1, Stream}]}}}.

%% In BER each line is in an IA5String, as Annex C.11 has it and tshark wants it.
description(Ip, Port) ->
    Formats = ets:lookup_element(state, formats, 2),
    Lines = [{"v", "0"}, {"c", "IN IP4 " ++ Ip}, {"m", "audio " ++ Port ++ " RTP/AVP" ++ Formats}],
    {'LocalRemoteDescriptor', [[{'PropertyParm', Name, [value(Text)], ?NONE} || {Name, Text} <- Lines]]}.

value(Text) ->
    case ets:lookup_element(state, encoding, 2) of
        "ber" -> [16#16, length(Text) | Text];
        _ -> Text
    end.

text([16#16, _ | Text]) -> Text;
text(Text) -> Text.

%% Address and port of a description.
media({'LocalRemoteDescriptor', [Lines | _]}) ->
    Of = fun(Name) ->
             [Words] = [string:tokens(text(Value), " ") || {'PropertyParm', N, [Value], _} <- Lines, N =:= Name],
             Words
         end,
    {lists:nth(3, Of("c")), lists:nth(2, Of("m"))}.

local_of([{'StreamDescriptor', _, Stream}]) -> local_of(Stream);
local_of({'StreamParms', _, Local, _}) -> Local.

remote_of([{'StreamDescriptor', _, Stream}]) -> remote_of(Stream);
remote_of({'StreamParms', _, _, Remote}) -> Remote.

%% ---- What the engine asks of its user.

handle_connect(Peer, _) -> ets:insert(state, {peer, Peer}), ok.
handle_connect(Peer, Version, _) -> handle_connect(Peer, Version).
handle_disconnect(_, _, _) -> ok.
handle_syntax_error(_, _, Error) -> tell("syntax-error ~0p", [Error]), reply.
handle_message_error(_, _, Error) -> tell("message-error ~0p", [Error]), ignore.
handle_trans_long_request(_, _, _) -> {discard_ack, []}.
handle_trans_reply(_, _, _, _) -> ok.
handle_trans_ack(_, _, _, _) -> ok.
handle_unexpected_trans(_, _, Transaction) -> tell("unexpected ~0p", [Transaction]), ok.
handle_trans_request_abort(_, _, _, _) -> ok.

handle_trans_request(_, _, Actions) -> {discard_ack, [done(Action) || Action <- Actions]}.

done({'ActionRequest', Context, _, _, Commands}) ->
    Id = case Context of
             ?CHOOSE_CONTEXT -> ets:update_counter(state, contexts, 1);
             _ -> Context
         end,
    {'ActionReply', Id, ?NONE, ?NONE, [reply(Id, Command) || {'CommandRequest', Command, _, _} <- Commands]}.

reply(_, {serviceChangeReq, {'ServiceChangeRequest', Ids, _}}) ->
    tell("service-change", []),
    Result = {'ServiceChangeResParm', ?NONE, ?NONE, ?NONE, ?NONE, ?NONE},
    {serviceChangeReply, {'ServiceChangeReply', Ids, {serviceChangeResParms, Result}}};
reply(_, {notifyReq, {'NotifyRequest', Ids, {'ObservedEventsDescriptor', _, Events}, _}}) ->
    [tell("notify ~s", [element(2, Event)]) || Event <- Events],
    {notifyReply, {'NotifyReply', Ids, ?NONE}};
reply(Context, {addReq, {'AmmRequest', [Asked], Descriptors}}) ->
    Id = case Asked of
             {megaco_term_id, true, _} -> termination(2, Context);
             _ -> Asked
         end,
    Audit = case [Media || {mediaDescriptor, Media} <- Descriptors] of
                [] -> ?NONE;
                [Media] ->
                    heard(Media),
                    case Id of
                        Asked -> ?NONE;
                        _ -> [media_descriptor(stream(?NONE, local(Context), ?NONE))]
                    end
            end,
    signalled(Descriptors),
    {addReply, {'AmmsReply', [Id], Audit}};
reply(_, {modReq, {'AmmRequest', Ids, Descriptors}}) ->
    [heard(Media) || {mediaDescriptor, Media} <- Descriptors],
    signalled(Descriptors),
    {modReply, {'AmmsReply', Ids, ?NONE}};
reply(_, {subtractReq, {'SubtractRequest', Ids, _}}) ->
    tell("subtracted", []),
    {subtractReply, {'AmmsReply', Ids, ?NONE}};
reply(_, {auditCapRequest, {'AuditRequest', _, _}}) ->
    Media = media_descriptor(stream(?NONE, description("$", "$"), ?NONE)),
    {auditCapReply, {auditResult, {'AuditResult', line(), [Media]}}};
reply(_, {auditValueRequest, {'AuditRequest', Id, {'AuditDescriptor', Items}}})
        when Items =:= ?NONE; Items =:= [] ->
    Known = case Id of {megaco_term_id, true, _} -> line(); _ -> Id end,
    {auditValueReply, {auditResult, {'AuditResult', Known, []}}};
reply(_, {auditValueRequest, {'AuditRequest', Id, _}}) ->
    Remote = ets:lookup_element(state, remote, 2),
    Media = media_descriptor(stream(?NONE, ?NONE, Remote)),
    {auditValueReply, {auditResult, {'AuditResult', Id, [Media]}}}.

%% Where a context's RTP is received.
local(Context) ->
    Own = ets:lookup_element(state, own, 2),
    Port = integer_to_list(6000 + 2 * (Context rem 1000)),
    tell("local ~s ~s", [Own, Port]),
    description(Own, Port).

%% What the gateway's party is to hear.
signalled(Descriptors) ->
    [tell("signals~s", [[[$\s, Name] || {signal, {'Signal', Name, _, _, _, _, _, _}} <- Signals]])
     || {signalsDescriptor, Signals} <- Descriptors],
    ok.

%% What the gateway is told of the far end.
heard({'MediaDescriptor', _, {_, Streams}}) ->
    case remote_of(Streams) of
        ?NONE -> ok;
        Remote ->
            ets:insert(state, {remote, Remote}),
            {Ip, Port} = media(Remote),
            tell("remote ~s ~s", [Ip, Port])
    end.
