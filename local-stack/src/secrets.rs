use std::fs::File;
use std::io::Read;

use crate::StackError;

/// 128 random bits from the operating system as 32 hexadecimal digits.
///
/// # Errors
/// If the system's generator cannot be read.
pub(crate) fn random_hex() -> Result<String, StackError> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(StackError::io(|| "read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
