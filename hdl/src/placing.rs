//! Where memories go.

use std::sync::Arc;

use crate::Module;

/// The hierarchy of `top` in which written memories of `fewest` bits or more ask for block RAM, for families without memories in
/// LUTs.
pub fn in_block_ram(top: &Arc<Module>, fewest: u64) -> Arc<Module> {
    top.changed(|module| {
        for memory in module.memories.iter_mut().filter(|memory| !memory.writes.is_empty()) {
            memory.block = u64::from(memory.width) * u64::from(memory.depth) >= fewest;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{fifo, ram, rom};
    use crate::verilog;

    fn text(module: &Arc<Module>) -> String {
        verilog::files(&in_block_ram(module, 48), &[]).into_iter().map(|file| file.text).collect()
    }

    #[test]
    fn written_memories_of_some_size_ask_for_block_ram() {
        let asks = "(* no_rw_check, ram_style = \"block\" *)";
        assert!(text(&ram(48, 1)).contains(asks));
        assert!(!text(&ram(47, 1)).contains("block"));
        assert!(!text(&rom(48, 1)).contains("block"));
        // The memory of the data asks, the one of `last` is small.
        assert_eq!(text(&fifo(14, 4, 0)).matches(asks).count(), 1);
        assert_eq!(text(&fifo(14, 4, 0)).matches("no_rw_check").count(), 2);
    }
}
