//! The daemon's own network namespace, and the thread that lives in it.
//!
//! What has to happen inside (links, routes, sysctls, new sockets) is sent to
//! that thread as a closure; a socket stays in the namespace it was made in, so
//! the daemon may use it from anywhere afterwards. The namespace is bound to
//! `/run/netns/<name>`, where `ip netns` shows it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` keeps namespaces.
const DIRECTORY: &str = "/run/netns";

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a name. Dropped: the name goes, and with the last
/// socket in it the namespace.
pub struct Namespace {
    path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    /// It takes the name away at its end: a mount, which this thread may no longer
    /// do by then.
    thread: Option<JoinHandle<Result<()>>>,
    /// Locked while this daemon lives: nobody else takes it for a leftover.
    held: Option<Flock<File>>,
}

impl Namespace {
    /// Makes the namespace.
    ///
    /// A namespace of the same name that only has `links` (and `lo`) is what a
    /// killed daemon has left, and goes first.
    ///
    /// # Errors
    ///
    /// Another daemon has it, or there is a namespace of this name with other
    /// links, or the kernel refuses.
    pub fn create(name: &str, links: &[&str]) -> Result<Self> {
        let path = Path::new(DIRECTORY).join(name);
        remove_stale(&path, links)?;
        std::fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;

        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        let target = path.clone();
        let thread = std::thread::Builder::new()
            .name("door".to_owned())
            .spawn(move || {
                let entered = enter_new(&target);
                let failed = entered.is_err();
                if ready.send(entered).is_ok() && !failed {
                    for job in inbox {
                        job();
                    }
                }
                unbind(&target)
            })
            .context("cannot start the namespace's thread")?;
        let mut namespace = Self {
            path,
            jobs: Some(jobs),
            thread: Some(thread),
            held: None,
        };
        is_ready
            .recv()
            .context("the namespace's thread ended early")??;
        namespace.held = Some(hold(&namespace.path)?);
        Ok(namespace)
    }

    /// Does `job` inside the namespace and waits for it.
    ///
    /// # Errors
    ///
    /// The thread has died, which only a panic in an earlier job can cause.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, outcome) = mpsc::channel();
        let job = Box::new(move || {
            // Nobody waiting any more: the outcome is of no interest.
            let _ = done.send(job());
        });
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            bail!("the namespace's thread is gone");
        }
        outcome.recv().context("the namespace's thread died")
    }

    /// The namespace, as a file to attach programs to.
    ///
    /// # Errors
    ///
    /// Somebody has removed its name.
    pub fn file(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.thread.take().map(JoinHandle::join);
        let stays = match ended {
            Some(Ok(Ok(()))) | None => return,
            Some(Ok(Err(error))) => format!("{error:#}"),
            Some(Err(_)) => "its thread has panicked".to_owned(),
        };
        tracing::warn!("namespace {} stays behind: {stays}", self.path.display());
    }
}

/// Holds this thread's network namespace, as the one that serves it.
///
/// # Errors
///
/// Another daemon does.
pub fn hold_own() -> Result<Flock<File>> {
    hold(Path::new("/proc/thread-self/ns/net"))
        .context("this host's interfaces are taken: stop the other daemon first")
}

/// Locks a namespace by its file; the lock ends with the process.
fn hold(path: &Path) -> Result<Flock<File>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(held),
        Err((_, Errno::EAGAIN)) => bail!("another sidestep has {}", path.display()),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn enter_new(path: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (root?)")?;
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .with_context(|| format!("cannot bind the namespace to {}", path.display()))
}

fn unbind(path: &Path) -> Result<()> {
    // Not mounted: only the file is left.
    let _ = umount2(path, MntFlags::MNT_DETACH);
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a namespace that a killed daemon left, and nothing else.
fn remove_stale(path: &Path, links: &[&str]) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let _held = hold(path)?;
    for link in links_inside(path)? {
        if link != "lo" && !links.contains(&link.as_str()) {
            bail!(
                "network namespace {} exists and has the link {link}: it is not Sidestep's; \
                 choose another daemon.namespace",
                path.display()
            );
        }
    }
    tracing::info!("removing namespace {} of an earlier run", path.display());
    unbind(path)
}

fn links_inside(path: &Path) -> Result<Vec<String>> {
    let namespace = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let reader = std::thread::spawn(move || -> Result<Vec<String>> {
        if setns(&namespace, CloneFlags::CLONE_NEWNET).is_err() {
            // An empty file: the bind mount went with its mount namespace.
            return Ok(Vec::new());
        }
        let table = File::open("/proc/thread-self/net/dev").context("cannot list links")?;
        let lines = BufReader::new(table).lines().skip(2);
        lines
            .map(|line| {
                let line = line.context("cannot list links")?;
                Ok(line.split(':').next().unwrap_or_default().trim().to_owned())
            })
            .collect()
    });
    reader
        .join()
        .unwrap_or_else(|_| bail!("cannot look into {}", path.display()))
}
