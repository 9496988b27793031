//! The Unix socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, sink};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::rows::{FlowEnds, FlowSpec};

/// Longest request, octets: several hundred flows to add.
const LONGEST: u64 = 256 << 10;
/// What is read of a request that is too long, octets.
const DISCARDED: u64 = 1 << 20;
/// Connections served at once; more have to wait.
const CONNECTIONS: usize = 64;
/// A client that does not read or write for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// Rows of [`super::rows::FlowRow`].
    Flows,
    /// Rows of [`super::rows::CallRow`].
    Calls,
    /// Rows of [`super::rows::ClientRow`].
    Clients,
    /// Rows of [`super::rows::VmRow`].
    Vms,
    /// One [`super::rows::StatusRow`].
    Status,
    /// Rows of [`super::rows::CounterRow`].
    Counters,
}

/// A line of a client's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    Get(List),
    Find(FlowEnds),
    Add(Vec<FlowSpec>),
    Remove(Vec<FlowEnds>),
}

/// What the owner of the answers is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Rows of a list; of a long one a part, from behind `after` on.
    Rows {
        /// Which.
        list: List,
        /// [`Part::next`] of the part before.
        after: Option<u32>,
    },
    /// The rows of one five-tuple.
    Find(FlowEnds),
    /// Flows to be added by hand.
    Add(Vec<FlowSpec>),
    /// Flows to be removed by hand.
    Remove(Vec<FlowEnds>),
}

/// Rows, and whether more follow.
#[derive(Debug, Default)]
pub struct Part {
    /// The rows.
    pub rows: Vec<Value>,
    /// What to go on behind; `None`: these were the last.
    pub next: Option<u32>,
}

/// A question to whoever owns the answers.
pub struct Query {
    /// What is asked for.
    pub ask: Ask,
    /// Where the rows go, or why there are none.
    pub answer: oneshot::Sender<Result<Part, String>>,
}

/// The listening socket; its file goes with it.
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

impl Server {
    /// Listens at `path`, for the owner and the group. The file of a daemon that
    /// has died goes first.
    ///
    /// # Errors
    ///
    /// A daemon answers there, or the file cannot be made.
    pub async fn listen(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        match UnixStream::connect(path).await {
            Ok(_) => bail!("a daemon answers at {} already", path.display()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let server = Self {
            path: path.to_owned(),
            listener,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        Ok(server)
    }

    /// Serves until dropped; every request becomes a query.
    pub async fn serve(self, queries: mpsc::Sender<Query>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let queries = queries.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &queries).await {
                            tracing::debug!("admin connection: {error}");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("admin socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!("{} stays: {error}", self.path.display());
        }
    }
}

async fn converse(mut stream: UnixStream, queries: &mpsc::Sender<Query>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(LONGEST);
        let length = timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let complete = line.ends_with(b"\n");
        answer(&line, queries, &mut write).await?;
        if !complete {
            // Cut off or too long: what follows is no request. It is read all the
            // same, for a close with unread octets would cost the answer.
            let mut rest = read.take(DISCARDED);
            timeout(PATIENCE, tokio::io::copy(&mut rest, &mut sink())).await??;
            return Ok(());
        }
    }
}

/// Answers a line with a line. A long list is asked for part by part, so that its
/// owner has its other work done between two parts.
async fn answer(
    line: &[u8],
    queries: &mpsc::Sender<Query>,
    write: &mut WriteHalf<'_>,
) -> io::Result<()> {
    let mut ask = match serde_json::from_slice::<Request>(line) {
        Ok(Request::Get(list)) => Ask::Rows { list, after: None },
        Ok(Request::Find(ends)) => Ask::Find(ends),
        Ok(Request::Add(flows)) => Ask::Add(flows),
        Ok(Request::Remove(flows)) => Ask::Remove(flows),
        Err(error) => return refuse(write, &format!("not a request: {error}")).await,
    };
    let mut text = "{\"ok\":[".to_owned();
    let (mut begun, mut first) = (false, true);
    loop {
        let part = match put(queries, ask.clone()).await {
            Ok(part) => part,
            Err(why) if !begun => return refuse(write, &why).await,
            // The line has begun; the other end sees that it does not end.
            Err(why) => return Err(io::Error::other(why)),
        };
        for row in &part.rows {
            if !std::mem::take(&mut first) {
                text.push(',');
            }
            text += &row.to_string();
        }
        match (&mut ask, part.next) {
            (Ask::Rows { after, .. }, Some(next)) => *after = Some(next),
            _ => break,
        }
        timeout(PATIENCE, write.write_all(text.as_bytes())).await??;
        text.clear();
        begun = true;
    }
    text += "]}\n";
    timeout(PATIENCE, write.write_all(text.as_bytes())).await?
}

async fn refuse(write: &mut WriteHalf<'_>, why: &str) -> io::Result<()> {
    let line = format!("{}\n", json!({ "error": why }));
    timeout(PATIENCE, write.write_all(line.as_bytes())).await?
}

async fn put(queries: &mpsc::Sender<Query>, ask: Ask) -> Result<Part, String> {
    let stopping = || "the daemon is stopping".to_owned();
    let (answer, part) = oneshot::channel();
    let sent = queries.send(Query { ask, answer }).await;
    sent.map_err(|_| stopping())?;
    part.await.map_err(|_| stopping())?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(requests: &str) -> Vec<Value> {
        let directory = std::env::temp_dir().join(format!("sidestep-admin-{}", requests.len()));
        let path = directory.join("s.sock");
        let server = Server::listen(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(Server::listen(&path).await.is_err(), "one daemon a socket");
        let (queries, mut asked) = mpsc::channel::<Query>(1);
        let serving = tokio::spawn(server.serve(queries));
        tokio::spawn(async move {
            while let Some(query) = asked.recv().await {
                let Ask::Rows { list, after } = query.ask else {
                    query.answer.send(Err("no".to_owned())).unwrap();
                    continue;
                };
                // Flows come in three parts, one of them empty.
                let part = match (list, after) {
                    (List::Flows, None) => Part {
                        rows: vec![json!(1), json!(2)],
                        next: Some(2),
                    },
                    (List::Flows, Some(2)) => Part {
                        rows: Vec::new(),
                        next: Some(7),
                    },
                    (List::Flows, Some(_)) => Part {
                        rows: vec![json!(8)],
                        next: None,
                    },
                    (list, _) => Part {
                        rows: vec![serde_json::to_value(list).unwrap()],
                        next: None,
                    },
                };
                query.answer.send(Ok(part)).unwrap();
            }
        });
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        serving.abort();
        let _ = serving.await;
        assert!(!path.exists(), "the file goes with the server");
        std::fs::remove_dir(directory).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn each_line_has_its_answer() {
        let answers = ask("{\"get\":\"flows\"}\n{\"get\":\"status\"}\n").await;
        assert_eq!(
            answers,
            [json!({"ok": [1, 2, 8]}), json!({"ok": ["status"]})]
        );
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_so() {
        let ends = r#"{"from":"10.0.0.1:1000","to":"[::1]:2"}"#;
        let answers = ask(&format!("{{\"find\":{ends}}}\n{{\"remove\":[{ends}]}}\n")).await;
        assert_eq!(answers, [json!({"error": "no"}), json!({"error": "no"})]);
    }

    #[tokio::test]
    async fn rubbish_is_told_so() {
        for request in [
            "{}\n",
            "{\"get\":\"all\"}\n",
            "flows\n",
            "{\"get\":\"flows\",\"x\":1}\n",
        ] {
            let answers = ask(request).await;
            assert!(answers[0]["error"].is_string(), "{request}");
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_cut() {
        let answers = ask(&"x".repeat(300_000)).await;
        assert_eq!(answers.len(), 1);
        assert!(answers[0]["error"].is_string());
    }
}
