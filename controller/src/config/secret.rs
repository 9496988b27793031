//! A thin client's password: in the file itself, or in a file of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fault::Faults;
use super::fields::Fields;

/// The password of an account. A `password_file` holds it in its first line and
/// may be given relative to the configuration's folder.
pub(super) fn password(account: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<String> {
    let file = account.get("password_file");
    if account.get("password").is_none() && file.is_none() {
        let hint = "give password, or password_file with the path of a file that holds it";
        return account.text("password", hint, faults).map(|at| at.value);
    }
    let Some(file) = file else {
        return account.text("password", "", faults).map(|at| at.value);
    };
    let at = file.text(faults)?;
    if account.get("password").is_some() {
        let what = "given beside password; keep one of the two";
        faults.error(at.line, &at.field, what);
        return None;
    }
    let path = folder.join(&at.value);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            faults.error(at.line, &at.field, what);
            return None;
        }
    };
    if world_readable(&path) {
        let what = format!(
            "everyone on this host can read {0}; chmod 600 {0}",
            path.display()
        );
        faults.warning(at.line, &at.field, what);
    }
    match text.lines().next() {
        Some(password) if !password.is_empty() => Some(password.to_owned()),
        _ => {
            let what = format!("{} has no password in its first line", path.display());
            faults.error(at.line, &at.field, what);
            None
        }
    }
}

/// Whether users outside the file's group may read it.
pub(super) fn world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}
