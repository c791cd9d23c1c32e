//! Whether a library's tables are whole and agree with each other.
//!
//! Enters: segments and sections. Leaves: what contradicts what, in one line. The linker of the system reads the segments
//! only, and dies of a wrong one; the sections say the same a second time, so each is held against the other.

use object::elf;

use super::elf::{Library, Section, Segment, contradiction, cut_short, not_shared};
use super::source::{Source, number};

/// The bytes of an entry of the dynamic table.
const DYNAMIC: usize = 16;

impl<S: Source + ?Sized> Library<'_, S> {
    /// Every byte that will be mapped is there, and segments and sections tell the same.
    pub(super) fn agrees(&self, segments: &[Segment]) -> Result<(), String> {
        let size = self.source.size();
        let ends_within = |offset: u64, length: u64| offset.checked_add(length).is_some_and(|end| end <= size);
        // A missing byte is a SIGBUS inside dlopen.
        let whole = segments.iter().all(|segment| ends_within(segment.offset, segment.file_size))
            && self.sections.iter().all(|section| section.is_empty() || ends_within(section.offset, section.size));
        if !whole {
            return Err(cut_short());
        }
        let loaded: Vec<&Segment> = segments.iter().filter(|segment| segment.kind == elf::PT_LOAD.0).collect();
        let in_order = loaded.windows(2).all(|pair| pair[0].end() <= pair[1].address);
        let sound = |segment: &&Segment| {
            segment.file_size <= segment.size
                && segment.address.checked_add(segment.size).is_some()
                && segment.flags & u64::from((elf::PF_R | elf::PF_W | elf::PF_X).0) != 0
        };
        if loaded.is_empty() || !in_order || !loaded.iter().all(sound) {
            return Err(contradiction("its program headers make no sense"));
        }
        let placed = |address: u64, length: u64, offset: Option<u64>| {
            loaded.iter().find(|segment| segment.holds(address, length, offset)).copied()
        };
        for section in self.sections.iter().filter(|section| section.takes_memory()) {
            let offset = (section.kind != elf::SHT_NOBITS.0).then_some(section.offset);
            if !placed(section.address, section.size, offset).is_some_and(|segment| segment.allows(section.flags)) {
                return Err(contradiction("its program headers and its sections disagree"));
            }
        }
        let of_threads = self.sections.iter().any(|section| section.flags & elf::SHF_TLS.0 != 0 && section.size > 0);
        if of_threads && !segments.iter().any(|segment| segment.kind == elf::PT_TLS.0) {
            return Err(contradiction("its program headers and its sections disagree"));
        }
        // What the system's linker looks up by a program header: it must be mapped, and from that place.
        for segment in segments.iter().filter(|segment| segment.size > 0) {
            let offset = Some(segment.offset);
            let fits = match elf::ProgramType(segment.kind) {
                elf::PT_TLS => self.is_thread_local_image(segment),
                _ if segment.file_size == 0 => true,
                // It goes on to the end of a page, of 64 KiB at most, in the file too by some tools.
                elf::PT_GNU_RELRO => placed(segment.address, 0, offset).is_some_and(|loaded| {
                    let writable = loaded.flags & u64::from(elf::PF_W.0) != 0;
                    writable && segment.end() <= loaded.end().saturating_add(0xffff)
                }),
                elf::PT_PHDR | elf::PT_INTERP | elf::PT_NOTE | elf::PT_GNU_PROPERTY | elf::PT_GNU_EH_FRAME => {
                    placed(segment.address, segment.file_size, offset).is_some()
                }
                // The dynamic table is looked at by itself; nothing reads what has another name.
                _ => true,
            };
            if !fits {
                return Err(contradiction("its program headers disagree"));
            }
        }
        Ok(())
    }

    /// What each thread gets a copy of is what the sections for it hold.
    fn is_thread_local_image(&self, segment: &Segment) -> bool {
        let of_threads = |section: &&Section| section.flags & elf::SHF_TLS.0 != 0 && section.size > 0;
        let sections = || self.sections.iter().filter(of_threads);
        let end = sections().filter_map(|section| section.address.checked_add(section.size)).max().unwrap_or(0);
        let initial = sections().filter(|section| section.kind != elf::SHT_NOBITS.0);
        let initial = initial.filter_map(|section| section.address.checked_add(section.size)).max();
        segment.align <= 1 << 20
            && sections().map(|section| section.address).min() == Some(segment.address)
            && segment.address.checked_add(segment.file_size) == Some(initial.unwrap_or(segment.address))
            && (end..=end.saturating_add(segment.align)).contains(&segment.end())
    }

    /// Data that changes is not among what is made read-only after the start.
    pub(super) fn stays_writable(&self, segments: &[Segment], names: &[u8]) -> Result<(), String> {
        let is = |section: &Section, name: &[u8]| {
            usize::try_from(section.name).ok().and_then(|at| names.get(at..)).is_some_and(|rest| rest.starts_with(name))
        };
        let changing = |section: &&Section| is(section, b".data\0") || is(section, b".bss\0");
        let relro = segments.iter().find(|segment| segment.kind == elf::PT_GNU_RELRO.0);
        let overlap = relro.is_some_and(|relro| {
            // By whole pages, down from the end.
            let end = relro.end() & !0xfff;
            let mut changing = self.sections.iter().filter(changing);
            changing.any(|section| {
                section.size > 0
                    && section.address < end
                    && section.address.saturating_add(section.size) > relro.address
            })
        });
        if overlap { Err(contradiction("its program headers and its sections disagree")) } else { Ok(()) }
    }

    /// The table that the system's linker works through points to sections, and ends.
    pub(super) fn dynamic(&self, segments: &[Segment]) -> Result<(), String> {
        let wrong = || contradiction("its dynamic table and its sections disagree");
        let segment = segments.iter().find(|segment| segment.kind == elf::PT_DYNAMIC.0);
        let section = self.sections.iter().find(|section| section.kind == elf::SHT_DYNAMIC.0);
        let (Some(segment), Some(section)) = (segment, section) else {
            return Err(not_shared("something that is not linked dynamically"));
        };
        if (segment.offset, segment.address, segment.file_size) != (section.offset, section.address, section.size) {
            return Err(wrong());
        }
        let table = self.content(section).ok_or_else(cut_short)?;
        let entries: Vec<(i64, u64)> = table
            .chunks_exact(DYNAMIC)
            .map(|entry| (number::<8>(entry, 0) as i64, number::<8>(entry, 8)))
            .take_while(|&(tag, _)| tag != elf::DT_NULL.0)
            .collect();
        if entries.len() == table.len() / DYNAMIC {
            return Err(wrong());
        }
        let value = |tag: elf::DynamicTag| entries.iter().find(|entry| entry.0 == tag.0).map(|entry| entry.1);
        if value(elf::DT_FLAGS_1).is_some_and(|flags| flags & elf::DF_1_PIE.0 != 0) {
            return Err(not_shared("a program"));
        }
        let starts = |address: u64| self.sections.iter().any(|s| s.takes_memory() && s.address == address);
        let ends = |address: u64| {
            self.sections.iter().any(|s| s.takes_memory() && s.address.checked_add(s.size) == Some(address))
        };
        for (start, size) in [
            (elf::DT_STRTAB, Some(elf::DT_STRSZ)),
            (elf::DT_RELA, Some(elf::DT_RELASZ)),
            (elf::DT_JMPREL, Some(elf::DT_PLTRELSZ)),
            (elf::DT_RELR, Some(elf::DT_RELRSZ)),
            (elf::DT_INIT_ARRAY, Some(elf::DT_INIT_ARRAYSZ)),
            (elf::DT_FINI_ARRAY, Some(elf::DT_FINI_ARRAYSZ)),
            (elf::DT_SYMTAB, None),
            (elf::DT_HASH, None),
            (elf::DT_GNU_HASH, None),
            (elf::DT_VERSYM, None),
            (elf::DT_VERNEED, None),
            (elf::DT_VERDEF, None),
        ] {
            let size = size.and_then(value);
            if let Some(address) = value(start)
                && size != Some(0)
                && !(starts(address) && size.is_none_or(|size| address.checked_add(size).is_some_and(ends)))
            {
                return Err(wrong());
            }
        }
        let runs = |address: u64| {
            let code = |s: &&Section| s.flags & elf::SHF_EXECINSTR.0 != 0;
            self.sections.iter().filter(code).any(|s| (s.address..s.address.saturating_add(s.size)).contains(&address))
        };
        if [elf::DT_INIT, elf::DT_FINI].into_iter().filter_map(value).any(|address| !runs(address)) {
            return Err(wrong());
        }
        Ok(())
    }
}
