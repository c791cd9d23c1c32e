//! A library's tables: segments, sections, exported symbols.
//!
//! Enters: the bytes of a file. Leaves: the tables of a shared library for this machine, which `agree` has found whole and
//! consistent, or what is wrong in one line. Never: trusts a number in the file.

use object::elf;

use super::source::{Source, number};

/// The machine that this host runs on, as ELF numbers it and as people call it.
pub(in crate::plugin) const MACHINE: (u16, &str) =
    if cfg!(target_arch = "aarch64") { (elf::EM_AARCH64.0, "aarch64") } else { (elf::EM_X86_64.0, "x86_64") };

/// The usual machines by name.
const MACHINES: [(u16, &str); 11] = [
    (3, "32-bit x86"),
    (8, "MIPS"),
    (20, "32-bit PowerPC"),
    (21, "PowerPC"),
    (22, "s390x"),
    (40, "32-bit Arm"),
    (43, "SPARC"),
    (elf::EM_X86_64.0, "x86_64"),
    (elf::EM_AARCH64.0, "aarch64"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];

const HEADER: u64 = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// What a program header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_size: u64,
    pub(super) size: u64,
    pub(super) align: u64,
}

/// What a section header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) name: u64,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u64,
}

/// A shared library for this machine that is all there.
pub(super) struct Library<'a, S: ?Sized> {
    pub(super) source: &'a S,
    pub(super) sections: Vec<Section>,
}

/// For what a copy that broke off, or a damaged disk, makes of a file.
pub(super) fn cut_short() -> String {
    "is cut short or damaged: copy or build it again".to_owned()
}

pub(super) fn contradiction(what: &str) -> String {
    format!("is damaged ({what}): copy or build it again")
}

impl<'a, S: Source + ?Sized> Library<'a, S> {
    /// Reads the tables of a file that begins as ELF files do.
    pub(super) fn read(source: &'a S) -> Result<Self, String> {
        let ident = source.bytes(0, source.size().min(16)).ok_or_else(cut_short)?;
        if ident.get(4) == Some(&elf::ELFCLASS32.0) {
            return Err(format!("is a 32-bit library; build it for {}", MACHINE.1));
        }
        let header = source.bytes(0, HEADER).ok_or_else(cut_short)?;
        if (header[4], header[5]) == (elf::ELFCLASS64.0, elf::ELFDATA2MSB.0) {
            return Err(format!("is for another machine (a big-endian one); build it for {}", MACHINE.1));
        }
        if (header[4], header[5]) != (elf::ELFCLASS64.0, elf::ELFDATA2LSB.0) {
            return Err(contradiction("its header makes no sense"));
        }
        let machine = number::<2>(&header, 18) as u16;
        if machine != MACHINE.0 {
            let name = MACHINES.iter().find(|(number, _)| *number == machine);
            let name = name.map_or_else(|| format!("ELF machine {machine}"), |(_, name)| (*name).to_owned());
            return Err(format!("is for another machine ({name}); build it for {}", MACHINE.1));
        }
        let what = match elf::FileType(number::<2>(&header, 16) as u16) {
            elf::ET_DYN => None,
            elf::ET_REL => Some("an object file"),
            elf::ET_EXEC => Some("a program"),
            elf::ET_CORE => Some("a memory image of a crash"),
            _ => return Err(contradiction("its header makes no sense")),
        };
        if let Some(what) = what {
            return Err(not_shared(what));
        }
        let table = |at: usize, entry: usize, size_at: usize| -> Result<Vec<u8>, String> {
            let (offset, count) = (number::<8>(&header, at), number::<2>(&header, size_at + 2));
            if number::<2>(&header, size_at) != entry as u64 || count == 0 {
                return Err(contradiction("its header makes no sense"));
            }
            source.bytes(offset, count * entry as u64).ok_or_else(cut_short)
        };
        let segments: Vec<Segment> = table(32, SEGMENT, 54)?.chunks_exact(SEGMENT).map(Segment::parse).collect();
        if number::<8>(&header, 40) == 0 {
            return Err("has no section headers, so it can't be checked; \
                        use strip rather than what removes them"
                .to_owned());
        }
        let sections: Vec<Section> = table(40, SECTION, 58)?.chunks_exact(SECTION).map(Section::parse).collect();
        let code = |section: &&Section| section.flags & elf::SHF_EXECINSTR.0 != 0;
        let mut code = sections.iter().filter(code).peekable();
        if code.peek().is_some() && code.all(|section| section.kind == elf::SHT_NOBITS.0) {
            return Err("holds debug information alone, its code is in another file; name the library itself".into());
        }
        let library = Library { source, sections };
        library.agrees(&segments)?;
        // The names are needed for one check only.
        let names = library.sections.get(number::<2>(&header, 62) as usize).and_then(|names| library.content(names));
        library.stays_writable(&segments, &names.ok_or_else(|| contradiction("its sections have no names"))?)?;
        library.dynamic(&segments)?;
        Ok(library)
    }

    /// All of a section's bytes.
    pub(super) fn content(&self, section: &Section) -> Option<Vec<u8>> {
        self.source.bytes(section.offset, section.size)
    }

    /// What stands behind the exported symbol `name`, `max` bytes at most; `None` if it is not exported.
    pub(super) fn exported(&self, name: &str, max: u64) -> Option<Vec<u8>> {
        let table = self.sections.iter().find(|section| section.kind == elf::SHT_DYNSYM.0)?;
        let names = self.content(self.sections.get(table.link as usize)?)?;
        let named = |at: u64| {
            let rest = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
            rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        };
        let symbols = self.content(table)?;
        let symbol =
            symbols.chunks_exact(SYMBOL).find(|symbol| number::<2>(symbol, 6) != 0 && named(number::<4>(symbol, 0)))?;
        let section = self.sections.get(number::<2>(symbol, 6) as usize)?;
        let within = number::<8>(symbol, 8).checked_sub(section.address)?;
        let left = section.size.checked_sub(within)?;
        self.source.bytes(section.offset.checked_add(within)?, left.min(max))
    }
}

pub(super) fn not_shared(what: &str) -> String {
    format!("is not a shared library but {what}; build the plugin with crate-type = [\"cdylib\"]")
}

impl Segment {
    fn parse(bytes: &[u8]) -> Self {
        Segment {
            kind: number::<4>(bytes, 0) as u32,
            flags: number::<4>(bytes, 4),
            offset: number::<8>(bytes, 8),
            address: number::<8>(bytes, 16),
            file_size: number::<8>(bytes, 32),
            size: number::<8>(bytes, 40),
            align: number::<8>(bytes, 48),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    /// Whether so many bytes at the address are in it, and come from that offset of the file, or are zeros.
    pub(super) fn holds(&self, address: u64, length: u64, offset: Option<u64>) -> bool {
        let Some(into) = address.checked_sub(self.address) else { return false };
        let Some(end) = into.checked_add(length) else { return false };
        match offset {
            Some(offset) => end <= self.file_size && offset.checked_sub(self.offset) == Some(into),
            // Zeroed memory begins behind what the file fills.
            None => into >= self.file_size && end <= self.size,
        }
    }

    /// Whether a section with these flags can do in it what it is for.
    pub(super) fn allows(&self, section: u64) -> bool {
        let has = |section_flag: u64, segment_flag: u32| {
            section & section_flag == 0 || self.flags & u64::from(segment_flag) != 0
        };
        let code = section & elf::SHF_EXECINSTR.0 != 0;
        has(elf::SHF_WRITE.0, elf::PF_W.0)
            && has(elf::SHF_EXECINSTR.0, elf::PF_X.0)
            && (code || self.flags & u64::from(elf::PF_R.0) != 0)
    }
}

impl Section {
    fn parse(bytes: &[u8]) -> Self {
        Section {
            name: number::<4>(bytes, 0),
            kind: number::<4>(bytes, 4) as u32,
            flags: number::<8>(bytes, 8),
            address: number::<8>(bytes, 16),
            offset: number::<8>(bytes, 24),
            size: number::<8>(bytes, 32),
            link: number::<4>(bytes, 40),
        }
    }

    /// Whether it has no bytes in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.kind == elf::SHT_NOBITS.0 || self.kind == elf::SHT_NULL.0
    }

    /// Whether it is mapped; zeroed thread-local data is each thread's own.
    pub(super) fn takes_memory(&self) -> bool {
        let zeroed_of_threads = self.kind == elf::SHT_NOBITS.0 && self.flags & elf::SHF_TLS.0 != 0;
        self.flags & elf::SHF_ALLOC.0 != 0 && self.size > 0 && !zeroed_of_threads
    }
}
