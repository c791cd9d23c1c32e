//! One record of the spool, as bytes and back. Pure.
//!
//! Enters: a batch with what is known of it, or any bytes. Leaves: the record's bytes, or a header whose checksum is
//! right. The layout stands in the [module above](super).
//!
//! Never: believes a field before the checksum over it was compared; allocates what a header asks for.

use bytes::Bytes;

use super::Tally;

/// What every record begins with; the last byte is the version of the format.
pub(super) const MAGIC: [u8; 4] = [0xd5, b'm', b'r', 1];

/// How long a record's header is.
pub const HEADER_LEN: usize = 48;

/// Where the header's own checksum stands.
const HEADER_CRC: usize = 40;

/// In which version of the protocol a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Remote write 1.0.
    V1,
    /// Remote write 2.0.
    V2,
}

/// A batch as the spool keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The batch's number, below 2^62. The spool stores it, and looks at it only for
    /// [`last_sequence`](super::Spool::last_sequence).
    pub sequence: u64,
    /// What the body is.
    pub protocol: Protocol,
    /// How many samples it carries.
    pub samples: u32,
    /// How many exemplars it carries.
    pub exemplars: u16,
    /// The oldest and the newest timestamp in it, in milliseconds since the Unix epoch.
    pub time_range_ms: (i64, i64),
    /// The bytes of the request: snappy-compressed, the same for each attempt.
    pub body: Bytes,
}

impl Record {
    /// How many bytes it takes in the spool.
    pub fn encoded_len(&self) -> u64 {
        HEADER_LEN as u64 + self.body.len() as u64
    }

    /// Replaces what is in `into` by the record's bytes, and returns the header among them. The body must be shorter
    /// than 4 GiB.
    pub(super) fn encode(&self, into: &mut Vec<u8>) -> Header {
        let header = Header {
            sequence: self.sequence,
            protocol: self.protocol,
            samples: self.samples,
            exemplars: self.exemplars,
            time_range_ms: self.time_range_ms,
            body_len: self.body.len() as u32,
            body_crc: crc32fast::hash(&self.body),
        };
        into.clear();
        into.reserve_exact(HEADER_LEN + self.body.len());
        into.extend_from_slice(&MAGIC);
        let protocol = match self.protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 2,
        };
        into.extend_from_slice(&[protocol, 0]);
        into.extend_from_slice(&self.exemplars.to_le_bytes());
        into.extend_from_slice(&header.body_len.to_le_bytes());
        into.extend_from_slice(&self.samples.to_le_bytes());
        into.extend_from_slice(&self.sequence.to_le_bytes());
        into.extend_from_slice(&self.time_range_ms.0.to_le_bytes());
        into.extend_from_slice(&self.time_range_ms.1.to_le_bytes());
        into.extend_from_slice(&crc32fast::hash(into).to_le_bytes());
        into.extend_from_slice(&header.body_crc.to_le_bytes());
        into.extend_from_slice(&self.body);
        header
    }
}

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) protocol: Protocol,
    pub(super) samples: u32,
    pub(super) exemplars: u16,
    pub(super) time_range_ms: (i64, i64),
    pub(super) body_len: u32,
    body_crc: u32,
}

impl Header {
    /// The header that these bytes begin with, if they do.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        if bytes[..MAGIC.len()] != MAGIC || crc32fast::hash(&bytes[..HEADER_CRC]) != u32_at(bytes, HEADER_CRC) {
            return None;
        }
        let protocol = match bytes[4] {
            1 => Protocol::V1,
            2 => Protocol::V2,
            _ => return None,
        };
        let header = Header {
            protocol,
            body_len: u32_at(bytes, 8),
            samples: u32_at(bytes, 12),
            exemplars: u16::from_le_bytes([bytes[6], bytes[7]]),
            sequence: u64_at(bytes, 16),
            time_range_ms: (u64_at(bytes, 24) as i64, u64_at(bytes, 32) as i64),
            body_crc: u32_at(bytes, 44),
        };
        is_plausible(header.sequence).then_some(header)
    }

    /// How many bytes the record takes, header and body.
    pub(super) fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// The record as it is counted.
    pub(super) fn tally(&self) -> Tally {
        let (samples, exemplars) = (u64::from(self.samples), u64::from(self.exemplars));
        Tally { records: 1, samples, exemplars, bytes: self.record_len() }
    }

    /// The record, if this is its body.
    pub(super) fn with_body(&self, body: Vec<u8>) -> Option<Record> {
        (crc32fast::hash(&body) == self.body_crc).then(|| Record {
            sequence: self.sequence,
            protocol: self.protocol,
            samples: self.samples,
            exemplars: self.exemplars,
            time_range_ms: self.time_range_ms,
            body: body.into(),
        })
    }
}

/// Whether a number that is counted up one by one can have come this far: whoever goes on counting never overflows.
pub(super) fn is_plausible(number: u64) -> bool {
    number < 1 << 62
}

/// The little-endian number at this place, which must lie within the bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The little-endian number at this place, which must lie within the bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let protocol = prop_oneof![Just(Protocol::V1), Just(Protocol::V2)];
        let body = prop::collection::vec(any::<u8>(), 0..200);
        (0..1u64 << 62, protocol, any::<(u32, u16)>(), any::<(i64, i64)>(), body).prop_map(
            |(sequence, protocol, (samples, exemplars), time_range_ms, body)| Record {
                sequence,
                protocol,
                samples,
                exemplars,
                time_range_ms,
                body: body.into(),
            },
        )
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        Header::decode(bytes)?.with_body(bytes[HEADER_LEN..].to_vec())
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in record()) {
            let mut bytes = vec![1, 2, 3];
            record.encode(&mut bytes);
            prop_assert_eq!(bytes.len() as u64, record.encoded_len());
            prop_assert_eq!(Header::decode(&bytes).unwrap().record_len(), record.encoded_len());
            prop_assert_eq!(decode(&bytes), Some(record));
        }

        #[test]
        fn no_changed_byte_goes_unseen(record in record(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(decode(&bytes), None);
            // What tells where the next record begins is whole if the header is, whatever became of the body.
            prop_assert_eq!(Header::decode(&bytes).is_some(), at >= HEADER_CRC + 4);
        }
    }

    #[test]
    fn the_layout_stays_what_it_is() {
        let record = Record {
            sequence: 0x0102,
            protocol: Protocol::V2,
            samples: 3,
            exemplars: 0x0405,
            time_range_ms: (-1, 5),
            body: Bytes::from_static(b"123456789"),
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let mut expected = vec![0xd5, b'm', b'r', 1, 2, 0, 5, 4, 9, 0, 0, 0, 3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0];
        expected.extend([0xff; 8]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[..HEADER_CRC], expected);
        // The check value of CRC-32/ISO-HDLC, which is the checksum of these nine digits.
        assert_eq!(bytes[44..], *b"\x26\x39\xf4\xcb123456789");
    }

    #[test]
    fn numbers_that_could_overflow_are_no_numbers() {
        let mut bytes = Vec::new();
        let body = Bytes::new();
        let record = Record {
            sequence: u64::MAX,
            protocol: Protocol::V1,
            samples: 1,
            exemplars: 0,
            time_range_ms: (0, 0),
            body,
        };
        record.encode(&mut bytes);
        assert_eq!(Header::decode(&bytes), None);
    }
}
