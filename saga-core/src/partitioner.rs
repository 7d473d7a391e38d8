//! Which partition a key goes to, as Java clients compute it.
//!
//! librdkafka's default is CRC32; a producer in Java puts the same key elsewhere. The relay computes the
//! partition itself, so that a foreign producer on the same topic keeps a key's events in one partition.

/// Partition of `key` in a topic of `partitions` partitions: murmur2 with Kafka's seed, sign bit cleared.
///
/// # Panics
/// If `partitions` is not positive: a topic without partitions cannot be produced to.
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    let hash = i32::from_ne_bytes(murmur2(key).to_ne_bytes()) & 0x7fff_ffff;
    hash % partitions
}

fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka keys are far below 4 GiB; the algorithm itself mixes in a 32-bit length.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_the_java_client() {
        let vectors: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (key, expected) in vectors {
            assert_eq!(
                i32::from_ne_bytes(murmur2(key.as_bytes()).to_ne_bytes()),
                expected,
                "{key}"
            );
        }
    }

    #[test]
    fn stays_within_the_topic() {
        for n in 1..=64 {
            for key in ["", "a", "order-1", "ffffffff-ffff"] {
                assert!((0..n).contains(&partition_for(key.as_bytes(), n)));
            }
        }
    }
}
