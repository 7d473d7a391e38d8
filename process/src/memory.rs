/// Has the kernel give this process pages of ordinary size alone, wherever it would rather give huge ones.
///
/// An allocator asks for huge pages where the machine leaves that to programs. Each thread has memory of its own for each
/// size of object, and the first byte in it costs 2 MB that are cleared and stay. The clients of Kafka have many threads: a
/// relay spent half of its time on a hundred outboxes in clearing pages, and had twice the memory with one. It drains no slower
/// without them.
///
/// Where this is refused or unknown, the process takes more memory, and that is all.
pub(crate) fn use_small_pages() {
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).ok();
}
