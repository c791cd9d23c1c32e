//! What a file is that is no ELF file: its first bytes enter, a few words leave.

/// What people call a file that begins with these bytes.
pub(super) fn of(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "an empty file",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] | [b'!', b'<', b't', b'h', b'i', b'n', b'>', ..] => {
            "an archive (a static library?)"
        }
        [0, b'a', b's', b'm', ..] => "WebAssembly",
        [b'M', b'Z', ..] => "a Windows library or program",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS library or program",
        [b'#', b'!', ..] => "a script",
        [0x1f, 0x8b, ..]
        | [b'B', b'Z', b'h', ..]
        | [0xfd, b'7', b'z', b'X', b'Z', ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..] => "a compressed file (unpack it)",
        [b'P', b'K', 3 | 5, ..] => "a zip archive (unpack it)",
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar archive (unpack it)",
        [b'B', b'C', 0xc0, 0xde, ..] => "LLVM bitcode",
        _ if bytes.iter().all(|&byte| byte == 0) => "a file of zeros (a copy that broke off?)",
        _ if is_text(bytes) => "text",
        _ => "something else",
    }
}

/// Whether it is text, which may end in the middle of a character.
fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_named() {
        let mut tar = [b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut half = "ü".repeat(256).into_bytes();
        half.truncate(511);
        for (bytes, is) in [
            (&b""[..], "an empty file"),
            (b"!<arch>\n", "an archive"),
            (b"!<thin>\n", "an archive"),
            (b"\0asm\x01", "WebAssembly"),
            (b"MZ\x90", "Windows"),
            (b"\xcf\xfa\xed\xfe", "macOS"),
            (b"#!/bin/sh", "a script"),
            (b"\x1f\x8b\x08", "a compressed file"),
            (b"\x28\xb5\x2f\xfd", "a compressed file"),
            (b"PK\x03\x04", "a zip archive"),
            (&tar, "a tar archive"),
            (b"hello\n", "text"),
            (&half, "text"),
            (&[0; 300], "zeros"),
            (b"\x01\x02hello", "something else"),
            (b"\xff\xfehello", "something else"),
        ] {
            assert!(of(bytes).contains(is), "{:?} is {}", &bytes[..bytes.len().min(10)], of(bytes));
        }
    }
}
