//! Names of the modules of a core: all of them begin with the core's name, so that several cores fit one design.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Image, Module};

/// Maximum length of a module's name; Verilator stops at 128, and a file's name adds to it.
pub const LONGEST: usize = 100;

/// `name`, cut to at most `longest` characters. What is cut off is told apart by a hash in the last 17 characters.
pub fn cut(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let kept: String = name.chars().take(longest - 17).collect();
    format!("{kept}_{:016x}", fnv(name))
}

/// FNV-1a, 64 bits.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The hierarchy of `top` with `core` and `_` before the name of every module and image file but the top module's own name.
pub fn prefixed(top: &Arc<Module>, core: &str) -> Arc<Module> {
    let mut images: HashMap<String, Arc<Image>> = HashMap::new();
    top.changed(|new| {
        if new.name != top.name {
            new.name = cut(&format!("{core}_{}", new.name), LONGEST);
        }
        if let Some(realised) = &mut new.realised {
            Arc::make_mut(realised).name.clone_from(&new.name);
        }
        for image in new.parameters.iter_mut().filter_map(|p| p.image.as_mut()) {
            let renamed = || {
                let stem = image.file.strip_suffix(".mem").unwrap_or(&image.file);
                let file = format!("{}.mem", cut(&format!("{core}_{stem}"), LONGEST));
                Arc::new(Image { file, words: image.words.clone() })
            };
            *image = Arc::clone(images.entry(image.file.clone()).or_insert_with(renamed));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let [a, b] = ["a", "b"].map(|end| cut(&format!("{}{end}", "x".repeat(120)), LONGEST));
        assert_eq!((a.len(), b.len()), (LONGEST, LONGEST));
        assert_ne!(a, b);
        assert_eq!(cut("short", LONGEST), "short");
    }
}
