//! Versions of V8s as the data files write them.

/// Major and minor version of a V8.
pub type Minor = (u32, u32);

/// Reads `10.2`.
pub fn minor(text: &str) -> Option<Minor> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads `10.2.154.26`.
pub fn full(text: &str) -> Option<[u32; 4]> {
    let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}
