//! The program itself, over loopback: it registers with a registrar, takes a
//! call, exchanges audio, and goes when told to. The peer is written out here.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use sidestep_core::sip::digest::Credentials;
use sidestep_core::sip::{Message, Method, Name, ResponseBuilder};
use thin_client::audio::codec::Encoding;
use thin_client::audio::g711::Law;
use thin_client::audio::meter::Meter;
use thin_client::audio::source::Source;
use thin_client::media::session::Session;
use thin_client::media::stream::{Audio, Peer, Stream};
use thin_client::report::{Report, State};

const DEADLINE: Duration = Duration::from_secs(15);

/// The registrar, caller and gateway; and the program under test.
struct Bench {
    socket: UdpSocket,
    client: SocketAddr,
    directory: PathBuf,
    child: Child,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Both fail only where a test has done it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// An even port whose successor is free too.
fn free_port() -> u16 {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        if port.is_multiple_of(2) && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Bench {
    fn start(name: &str, more: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        let directory =
            std::env::temp_dir().join(format!("thin-client-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (sip, media) = (free_port(), free_port());
        let config = format!(
            "server: {}\nuser: tc17\npassword: secret\nbind: 127.0.0.1:{sip}\n\
             media: {{address: 127.0.0.1, port: {media}}}\nplay: {{tone: 440}}\n\
             record: {}\nreport: {}\n{more}\n",
            socket.local_addr().expect("bound"),
            directory.join("heard.wav").display(),
            directory.join("report.json").display(),
        );
        let path = directory.join("thin-client.yaml");
        std::fs::write(&path, config).expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_thin-client"))
            .args(["run", "--config"])
            .arg(&path)
            .spawn()
            .expect("it starts");
        Self {
            socket,
            client: local(sip),
            directory,
            child,
        }
    }

    fn receive(&self) -> Message {
        let mut datagram = [0; 4_096];
        let (length, from) = self.socket.recv_from(&mut datagram).expect("a message");
        assert_eq!(from, self.client);
        Message::parse(&datagram[..length]).expect("a valid message")
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.client).expect("sent");
    }

    /// Challenges the first REGISTER and takes the second.
    fn register(&self) -> Message {
        let first = self.receive();
        let challenge = "Digest realm=\"s\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";
        let response = ResponseBuilder::new(&first, 401, Some("r"))
            .header(Name::WWW_AUTHENTICATE, challenge)
            .build();
        self.send(&response);
        let second = self.receive();
        let header = second.header(Name::AUTHORIZATION).expect("credentials");
        let credentials = Credentials::parse(header).expect("readable");
        assert!(credentials.verify("secret", "REGISTER"));
        self.accept(&second);
        second
    }

    fn accept(&self, request: &Message) {
        let response = ResponseBuilder::new(request, 200, Some("r"))
            .header(Name::EXPIRES, "600")
            .build();
        self.send(&response);
    }

    /// A request of the call; the tag is the client's, once it is known.
    fn request(&self, method: &str, cseq: u32, tag: &str, body: &str) {
        let own = self.socket.local_addr().expect("bound");
        self.send(
            format!(
                "{method} sip:tc17@{} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {own};branch=z9hG4bK{method}{cseq};rport\r\n\
                 From: <sip:gw@127.0.0.1>;tag=g\r\nTo: <sip:tc17@127.0.0.1>{tag}\r\n\
                 Call-ID: call-1\r\nCSeq: {cseq} {method}\r\nContact: <sip:gw@{own}>\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                self.client,
                body.len(),
            )
            .as_bytes(),
        );
    }

    /// Waits until the report says so.
    fn report(&self, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
        let path = self.directory.join("report.json");
        let until = Instant::now() + DEADLINE;
        loop {
            let report = std::fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice::<Report>(&text).ok());
            match report {
                Some(report) if is_so(&report) => return report,
                report if Instant::now() > until => panic!("no {what}: {report:#?}"),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// SIGTERM; the exit has to be clean.
    fn terminate(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    }
}

/// The gateway's media.
struct Gateway {
    session: Session,
    port: u16,
}

impl Gateway {
    fn new(tone: u32) -> Self {
        let port = free_port();
        let audio = Audio {
            source: Source::tone(tone),
            listener: None,
            recorder: None,
        };
        let stream = Stream::new("gw".into(), 20, audio);
        Self {
            session: Session::start(local(port), stream).expect("bound"),
            port,
        }
    }

    fn offer(&self, format: u8) -> String {
        format!(
            "v=0\r\no=gw 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {} RTP/AVP {format}\r\n",
            self.port
        )
    }

    /// Sends to where the client's answer says, and hears from there.
    fn connect(&self, ok: &Message) {
        let answer = ok.sdp().expect("an answer").expect("readable");
        let (_, media) = answer.audio().expect("audio");
        let payload_type = media.codecs[0].payload_type;
        self.session.stream().set_peer(Peer {
            rtp: media.rtp,
            rtcp: media.rtcp,
            formats: vec![(
                payload_type,
                Encoding::G711(Law::from_payload_type(payload_type).expect("G.711")),
            )],
            ptime: None,
            send: true,
        });
    }
}

#[test]
fn a_call_carries_audio_both_ways_and_is_reported() {
    let mut bench = Bench::start("audio", "");
    let register = bench.register();
    assert!(register.is_sdp(), "media address and codecs (step 301)");
    bench.report("registration", |report| report.registration.registered);

    let mut gateway = Gateway::new(1_000);
    bench.request("INVITE", 1, "", &gateway.offer(8));
    let ok = bench.receive();
    assert_eq!(ok.status(), Some(200));
    let tag = String::from_utf8_lossy(ok.to_tag().expect("a tag")).into_owned();
    let tag = format!(";tag={tag}");
    gateway.connect(&ok);
    bench.request("ACK", 1, &tag, "");
    let report = bench.report("a second of audio", |report| {
        report
            .calls
            .last()
            .is_some_and(|call| call.received.packets >= 50)
    });
    let call = &report.calls[0];
    assert_eq!(
        (call.call_id.as_str(), call.state),
        ("call-1", State::Active)
    );
    assert_eq!(call.codec.as_deref(), Some("PCMA"));
    assert_eq!(call.received.tone_hz, Some(1_000));
    assert_eq!(call.peer, Some(local(gateway.port)));

    bench.request("BYE", 2, &tag, "");
    assert_eq!(bench.receive().status(), Some(200));
    let report = bench.report("an end", |report| report.calls[0].state == State::Ended);
    gateway.session.stop();
    let call = &report.calls[0];
    assert_eq!(call.end_reason.as_deref(), Some("bye"));
    assert_eq!((call.received.lost, call.received.foreign), (0, 0));
    let heard = gateway.session.stream().received();
    assert_eq!(heard.tone_hz, Some(440));
    assert_eq!((heard.lost, heard.duplicate), (0, 0));
    // The first may come before the answer that says where it comes from.
    assert_eq!(call.sent.packets, heard.packets + heard.early);
    assert_eq!(heard.ssrc, Some(call.sent.ssrc));
    assert!(gateway.session.stream().rtcp().bye, "RTCP BYE");

    let mut recording = hound::WavReader::open(bench.directory.join("heard.wav")).expect("a file");
    let samples: Vec<i16> = recording
        .samples()
        .map(|sample| sample.expect("read"))
        .collect();
    assert_eq!(samples.len() as u64, call.received.packets * 160);
    let mut meter = Meter::default();
    meter.hear(&samples);
    assert_eq!(meter.tone_hz(), Some(1_000));

    bench.terminate();
    let removal = bench.receive();
    assert_eq!(
        (removal.method(), removal.expires()),
        (&Method::Register, Some(0))
    );
    bench.accept(&removal);
    assert!(bench.child.wait().expect("it ends").success());
}

#[test]
fn pacing_keeps_20_ms_on_average_and_a_stop_hangs_up() {
    let mut bench = Bench::start("pacing", "register: none");
    assert!(!bench.register().is_sdp());
    let rtp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    rtp.set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let port = rtp.local_addr().expect("bound").port();
    bench.request(
        "INVITE",
        1,
        "",
        &format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\n"
        ),
    );
    let ok = bench.receive();
    let tag = String::from_utf8_lossy(ok.to_tag().expect("a tag")).into_owned();
    bench.request("ACK", 1, &format!(";tag={tag}"), "");
    // Where a packet came against where an exact clock would have put it. Each
    // can be late by the scheduling of this process; the earliest of twenty
    // hardly is.
    let mut datagram = [0; 2_048];
    let start = Instant::now();
    let mut earliest_of_twenty = |first: u32| {
        (first..first + 20)
            .map(|packet| {
                assert_eq!(rtp.recv(&mut datagram).expect("RTP"), 172);
                start.elapsed().as_secs_f64() - f64::from(packet) * 0.020
            })
            .fold(f64::INFINITY, f64::min)
    };
    let groups: Vec<f64> = (0..5).map(|group| earliest_of_twenty(group * 20)).collect();
    // Relative sleeps would drift by their overhead, 50 µs or more per packet.
    let drift = (groups[4] - groups[0]) / 80.0;
    assert!(drift.abs() < 25e-6, "{drift} s per packet: {groups:?}");

    bench.terminate();
    let mut methods = [bench.receive(), bench.receive()];
    methods.sort_by_key(|message| message.method().as_str().to_owned());
    assert_eq!(methods[0].method(), &Method::Bye);
    assert_eq!(methods[1].expires(), Some(0));
    bench.accept(&methods[0]);
    bench.accept(&methods[1]);
    assert!(bench.child.wait().expect("it ends").success());
    let report = bench.report("an end", |report| report.calls[0].state == State::Ended);
    assert_eq!(report.calls[0].end_reason.as_deref(), Some("stopped"));
}

#[test]
fn a_bad_configuration_is_told_whole_and_exits_2() {
    let path = std::env::temp_dir().join(format!("thin-client-bad-{}.yaml", std::process::id()));
    std::fs::write(&path, "user: x\ncolour: red\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_thin-client"))
        .args(["check", "--config"])
        .arg(&path)
        .output()
        .expect("it runs");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for fault in ["server: missing", "media: missing", "colour: unknown key"] {
        assert!(text.contains(fault), "{text}");
    }
}
