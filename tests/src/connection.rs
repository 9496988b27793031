//! Connections through the lab, as a peer that knows nothing of Sidestep makes them.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Site};
use crate::wait::{seconds, wait_for};

/// A connection through the lab, from the side of whoever made it and of whom it
/// was made to.
#[derive(Debug)]
pub struct Ends {
    /// Of whom it was made by.
    pub caller: TcpStream,
    /// Of whom it was made to.
    pub called: TcpStream,
}

impl Ends {
    /// Connects two boxes, the called one listening on the SIP port.
    pub fn open(lab: &Lab, from: Site, to: Site) -> Result<Self> {
        Self::open_at(lab, from, to, 5060)
    }

    /// The same, listening on another port.
    pub fn open_at(lab: &Lab, from: Site, to: Site, port: u16) -> Result<Self> {
        let listener = listen(lab, to, port)?;
        let caller = connect(lab, from, SocketAddrV4::new(to.ip(), port))?;
        let (called, peer) = accept(&listener)?;
        ensure!(
            peer == caller.local_addr()?,
            "{peer} is not who has connected"
        );
        let ends = Self { caller, called };
        for end in [&ends.caller, &ends.called] {
            end.set_read_timeout(Some(seconds(5)))?;
            end.set_nodelay(true)?;
        }
        Ok(ends)
    }
}

/// Listens at a box.
pub fn listen(lab: &Lab, site: Site, port: u16) -> Result<TcpListener> {
    // What listened there before may not have gone yet.
    let listener = wait_for(
        &format!("port {port} of {} to be free", site.name()),
        seconds(5),
        || {
            let bound = lab
                .namespace(site)
                .enter(move || TcpListener::bind(("0.0.0.0", port)));
            bound.ok()?.ok()
        },
    )?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next connection, and who has made it.
pub fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = wait_for("a connection", seconds(5), || listener.accept().ok())?;
    stream.set_nonblocking(false)?;
    Ok((stream, peer))
}

/// Connects a box to an address.
pub fn connect(lab: &Lab, from: Site, to: SocketAddrV4) -> Result<TcpStream> {
    lab.namespace(from)
        .enter(move || TcpStream::connect_timeout(&to.into(), seconds(5)))?
        .with_context(|| format!("connecting {} to {to}", from.name()))
}

/// Reads so many bytes.
pub fn read(end: &mut TcpStream, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut got = 0;
    while got < length {
        let more = end
            .read(&mut bytes[got..])
            .with_context(|| format!("{got} of {length} bytes came"))?;
        ensure!(more > 0, "the end after {got} of {length} bytes");
        got += more;
    }
    Ok(bytes)
}

/// Sends in segments of so many bytes, one after the other, and compares what
/// comes out.
pub fn cross(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8], segment: usize) -> Result<()> {
    let mut reader = to.try_clone()?;
    let length = bytes.len();
    let reader = std::thread::spawn(move || read(&mut reader, length));
    for segment in bytes.chunks(segment) {
        from.write_all(segment)?;
    }
    let got = reader.join().expect("no panic")?;
    ensure!(got == bytes, "{length} bytes changed on their way");
    Ok(())
}

/// A MESSAGE with a body of so many octets.
pub fn message(call_id: &str, body: usize) -> Vec<u8> {
    let head = format!(
        "MESSAGE sip:desk@10.71.1.11 SIP/2.0\r\nVia: SIP/2.0/TCP 10.71.3.31;branch=z9hG4bK{call_id}\r\n\
         f: <sip:a@b>;tag=1\r\nt: <sip:c@d>\r\ni: {call_id}\r\nCSeq: 1 MESSAGE\r\n\
         Content-Type: text/plain\r\nl: {body}\r\n\r\n"
    );
    [head.as_bytes(), &vec![b'x'; body]].concat()
}
