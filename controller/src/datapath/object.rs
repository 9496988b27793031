//! Loading: the object file in this binary, the pinned maps of earlier runs, and
//! the programs that share them.

use std::fs::File;
use std::mem::size_of;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::maps::{Map, MapData};
use aya::programs::{SchedClassifier, SkLookup, Xdp};
use aya::{Ebpf, EbpfLoader};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use sidestep_abi::flow::FlowStats;
use sidestep_abi::table::{FlowRecord, RESTING, TableShape, buckets};
use sidestep_abi::{TABLE_SHAPE, VERSION, map, program};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sidestep.bpf.o"));

/// Where maps and links are pinned; held by one daemon at a time.
pub struct Pins {
    root: PathBuf,
    directory: PathBuf,
    /// The file system is there for them alone.
    mounted: bool,
    _held: Flock<File>,
}

impl Pins {
    /// Makes and takes the directory, on a BPF file system of its own if there
    /// is none.
    ///
    /// # Errors
    ///
    /// Another daemon holds it, or the file system cannot be mounted.
    pub fn hold(root: &Path) -> Result<Self> {
        let mounted = mount_if_missing(root)?;
        let directory = versioned(root);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory.join(LINKS))
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let file = File::open(root).with_context(|| format!("cannot open {}", root.display()))?;
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, Errno::EAGAIN)) => {
                bail!("another sidestep uses the pins at {}", root.display())
            }
            Err((_, error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", root.display()));
            }
        };
        Ok(Self {
            root: root.to_owned(),
            directory,
            mounted,
            _held: held,
        })
    }

    /// Whether the file system is there for them alone.
    pub fn mounted(&self) -> bool {
        self.mounted
    }

    /// Where a link is pinned.
    pub fn link(&self, name: &str) -> PathBuf {
        self.directory.join(LINKS).join(name)
    }

    /// Names of the links pinned now.
    pub fn links(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.join(LINKS));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Takes over the links of other versions, whose maps have other layouts: this
    /// version's programs replace theirs in them, and with those their maps go. The
    /// flows in them end there; calls bring theirs anew.
    pub fn take_over_other_versions(&self) {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten();
        for entry in entries.flatten() {
            let directory = entry.path();
            if directory == self.directory || !is_a_version(&entry.file_name().to_string_lossy()) {
                continue;
            }
            tracing::info!("replacing the programs of {}", directory.display());
            let links = std::fs::read_dir(directory.join(LINKS));
            for link in links.into_iter().flatten().flatten() {
                let own = self.directory.join(LINKS).join(link.file_name());
                if let Err(error) = std::fs::rename(link.path(), &own) {
                    tracing::warn!("{} is not taken over: {error}", link.path().display());
                }
            }
            if let Err(error) = std::fs::remove_dir_all(&directory) {
                tracing::warn!("{} stays: {error}", directory.display());
            }
        }
    }

    /// Removes everything of this version.
    pub fn remove(&self) {
        let mut removed = std::fs::remove_dir_all(&self.directory);
        if self.mounted {
            removed = removed.and(umount2(&self.root, MntFlags::MNT_DETACH).map_err(Into::into));
        }
        let removed = removed.and_then(|()| std::fs::remove_dir(&self.root));
        if let Err(error) = removed {
            tracing::debug!("{} stays: {error}", self.root.display());
        }
    }
}

const LINKS: &str = "links";

fn is_a_version(name: &str) -> bool {
    let number = name.strip_prefix('v').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// The directory of this layout's maps below `root`.
pub fn versioned(root: &Path) -> PathBuf {
    root.join(format!("v{VERSION}"))
}

/// A map of this layout that is pinned below `root`.
///
/// # Errors
///
/// There is none.
pub fn pinned(root: &Path, name: &str) -> Result<Map> {
    let path = versioned(root).join(name);
    let data = MapData::from_pin(&path)
        .with_context(|| format!("no flow map is pinned at {}", path.display()))?;
    Ok(Map::from_map_data(data)?)
}

/// At `/sys/fs/bpf` where that is meant, else at the directory itself; true then.
fn mount_if_missing(root: &Path) -> Result<bool> {
    const STANDARD: &str = "/sys/fs/bpf";
    let there = root.ancestors().find(|path| path.exists());
    let is_bpf = |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
    if there.is_some_and(is_bpf) {
        return Ok(false);
    }
    let target = if root.starts_with(STANDARD) {
        Path::new(STANDARD)
    } else {
        std::fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        root
    };
    tracing::info!("mounting a BPF file system at {}", target.display());
    mount(
        Some("bpf"),
        target,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .with_context(|| format!("cannot mount a BPF file system at {}", target.display()))?;
    Ok(target == root)
}

/// Loads the object; pinned maps are taken over, the others made and pinned.
///
/// # Errors
///
/// A pinned map has another layout, or the kernel refuses maps or programs.
pub fn load(pins: &Pins, max_flows: u32) -> Result<Ebpf> {
    let shape = match pinned_shape(pins)? {
        Some(shape) => shape,
        None => TableShape::new(max_flows),
    };
    let mut loader = EbpfLoader::new();
    loader
        .default_map_pin_directory(&pins.directory)
        .override_global(TABLE_SHAPE, &shape, true)
        .map_max_entries(map::FLOW_BUCKETS, buckets(max_flows))
        .map_max_entries(map::FLOW_RECORDS, max_flows + RESTING)
        .map_max_entries(map::FLOW_STATS, max_flows)
        .map_max_entries(map::ANCHORS, max_flows);
    check_layout::<FlowRecord>(pins, map::FLOW_RECORDS)?;
    let pinned = check_layout::<FlowStats>(pins, map::FLOW_STATS)?;
    if let Some(pinned) = pinned.filter(|pinned| *pinned != max_flows) {
        tracing::warn!(
            "there is room for {pinned} flows as before; daemon.max_flows ({max_flows}) counts \
             after a clean stop"
        );
    }
    let mut ebpf = loader
        .load(OBJECT)
        .context("cannot load the kernel programs' object")?;
    let kept = ebpf
        .map_mut(map::FLOW_SHAPE)
        .context("the object has no map FLOW_SHAPE")?;
    shape.keep(kept).context("cannot write to the flow table")?;

    for name in [program::TAP_FROM_VM, program::TAP_TO_VM, program::DOOR_OUT] {
        let classifier: &mut SchedClassifier = typed(&mut ebpf, name)?;
        classifier.load().with_context(|| refused(name))?;
    }
    let uplink: &mut Xdp = typed(&mut ebpf, program::UPLINK)?;
    uplink.load().with_context(|| refused(program::UPLINK))?;
    let lookup: &mut SkLookup = typed(&mut ebpf, program::DOOR_SOCKET)?;
    lookup
        .load()
        .with_context(|| refused(program::DOOR_SOCKET))?;
    Ok(ebpf)
}

/// How five-tuples hash in the table that an earlier run has pinned, if one has.
fn pinned_shape(pins: &Pins) -> Result<Option<TableShape>> {
    let path = pins.directory.join(map::FLOW_SHAPE);
    if !path.exists() {
        return Ok(None);
    }
    let kept = MapData::from_pin(&path)
        .and_then(Map::from_map_data)
        .and_then(TableShape::kept);
    kept.with_context(|| format!("cannot read the pinned map {}", path.display()))
}

fn refused(name: &str) -> String {
    format!("the kernel does not take the program {name}")
}

/// A program of the object, as what it is.
pub fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is of another type"))
}

/// An array that an earlier run has pinned must be what this one thinks it is; its
/// entries, if there is one.
fn check_layout<V>(pins: &Pins, name: &str) -> Result<Option<u32>> {
    let path = pins.directory.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let info = MapData::from_pin(&path)
        .and_then(|map| map.info())
        .with_context(|| format!("cannot open the pinned map {}", path.display()))?;
    if (info.key_size() as usize, info.value_size() as usize) != (size_of::<u32>(), size_of::<V>())
    {
        bail!(
            "the pinned map {} has another layout than this version's: \
             stop what uses it and remove {}",
            path.display(),
            pins.directory.display()
        );
    }
    Ok(Some(info.max_entries()))
}
