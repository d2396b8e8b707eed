//! Faults on purpose: hardware that is wrong in one place, to show that checks find it.

use std::panic::Location;
use std::sync::Arc;

use stoxnor::lower::Hardware;
use stoxnor_hdl::{Bits, Cell, Driver, Image, Module, Net, NetInfo, Register};

/// The hardware with module `name` changed, wherever it is instantiated.
///
/// # Panics
/// Where there is no such module.
#[must_use]
pub fn edit_module(hardware: &Hardware, name: &str, change: impl Fn(&mut Module)) -> Hardware {
    fn edit(module: &Arc<Module>, name: &str, change: &dyn Fn(&mut Module), hits: &mut usize) -> Arc<Module> {
        let mut copy = (**module).clone();
        for instance in &mut copy.instances {
            instance.module = edit(&instance.module, name, change, hits);
        }
        if copy.name == name {
            change(&mut copy);
            *hits += 1;
        }
        Arc::new(copy)
    }
    let mut hits = 0;
    let mut faulty = hardware.clone();
    let name = &named(hardware, name);
    faulty.design.top = edit(&hardware.design.top, name, &change, &mut hits);
    assert!(hits > 0, "there is no module {name}");
    faulty
}

/// The hardware with the memory image `file` changed.
///
/// # Panics
/// Where there is no such image.
#[must_use]
pub fn edit_image(hardware: &Hardware, file: &str, change: impl FnOnce(&mut Vec<Bits>)) -> Hardware {
    let file = &named(hardware, file);
    let mut top = (*hardware.design.top).clone();
    let mut images = top.parameters.iter_mut().filter_map(|p| p.image.as_mut());
    let image = images.find(|i| i.file == *file).unwrap_or_else(|| panic!("there is no image {file}"));
    let mut words = image.words.clone();
    change(&mut words);
    *image = Arc::new(Image { file: file.clone(), words });
    let mut faulty = hardware.clone();
    faulty.design.top = Arc::new(top);
    faulty
}

/// The beginning of the names of this core's modules and images.
fn core(hardware: &Hardware) -> String {
    let top = &hardware.design.top.name;
    format!("{}_", top.strip_suffix("_top").unwrap_or(top))
}

/// The name of a module or an image in this core.
fn named(hardware: &Hardware, name: &str) -> String {
    core(hardware) + name
}

/// The name of a module without its core's: as [`edit_module`] takes it.
pub fn own_name<'a>(hardware: &Hardware, name: &'a str) -> &'a str {
    name.strip_prefix(&core(hardware)).unwrap_or(name)
}

/// Adds a named cell and returns its net.
pub fn add_cell(module: &mut Module, name: &str, width: u32, cell: Cell) -> Net {
    module.nets.push(NetInfo {
        width,
        name: Some(name.to_owned()),
        driver: Driver::Cell(cell),
        at: Location::caller(),
    });
    module.net(name).expect("just added")
}

/// Adds a register of one bit that starts at 0 and takes `next` at every edge; returns its net.
pub fn add_register(module: &mut Module, name: &str, next: Net) -> Net {
    module.nets.push(NetInfo {
        width: 1,
        name: Some(name.to_owned()),
        driver: Driver::Register(module.registers.len()),
        at: Location::caller(),
    });
    let q = module.net(name).expect("just added");
    module.registers.push(Register { q, next: Some(next), enable: None, reset: Some(Bits::zero(1)) });
    q
}
