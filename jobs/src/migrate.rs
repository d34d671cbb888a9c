//! Reading what an older version of a job kind wrote.
//!
//! Arguments and checkpoints are stored with the version of the kind that wrote them. An older one
//! goes through the kind's `migrate`, each time it is read: stored bytes are not rewritten, so the
//! release before can still take the store. A newer one is not touched: the job waits for the release
//! that knows it, instead of failing for want of a field.

use crate::error::{JobError, Result, code};

/// Decodes a protobuf message.
///
/// # Errors
/// A failure with code XX001. (The record's checksum held, so these are bytes of another type.)
pub(crate) fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|error| {
        JobError::failed(code::DATA_CORRUPTED, format!("cannot read the job's payload: {error}"))
    })
}

/// Why a kind cannot take a job of version `stored`; `None` if it can.
pub(crate) fn too_new(kind: &str, stored: u32, known: u32) -> Option<String> {
    (stored > known).then(|| {
        format!(
            "waiting for a release that knows version {stored} of {kind}; this one knows {known}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_version_waits() {
        assert_eq!(too_new("IMPORT", 1, 2), None);
        assert_eq!(too_new("IMPORT", 2, 2), None);
        assert!(too_new("IMPORT", 3, 2).unwrap().contains("version 3 of IMPORT"));
    }

    #[test]
    fn bytes_of_another_type_are_a_failure() {
        let error = decode::<crate::record::PayloadRecord>(&[0xFF]).unwrap_err();
        assert_eq!(error.into_failure().code, code::DATA_CORRUPTED);
    }
}
