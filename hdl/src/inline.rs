//! Memory contents inside the text: a design without memory image files.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Image, Module};

/// The hierarchy of `top` with the contents of its memories in the modules themselves, and without parameters that name images. A
/// module whose memory is initialised becomes one module per image, named after the image's file; a module around such memories becomes
/// one per list of images, numbered from the second on.
pub fn inlined(top: &Arc<Module>) -> Arc<Module> {
    let images: Vec<_> = top.parameters.iter().map(|p| p.image.clone()).collect();
    Inlining::default().module(top, &images)
}

/// The modules by name and images, so that equal ones stay one module.
#[derive(Default)]
struct Inlining {
    done: HashMap<(String, Vec<String>), Arc<Module>>,
    /// Lists of images that modules have been built with, by name.
    lists: HashMap<String, usize>,
}

impl Inlining {
    fn module(&mut self, module: &Arc<Module>, images: &[Option<Arc<Image>>]) -> Arc<Module> {
        let files: Vec<String> = images.iter().flatten().map(|image| image.file.clone()).collect();
        let key = (module.name.clone(), files);
        if let Some(done) = self.done.get(&key) {
            return Arc::clone(done);
        }
        let mut new = (**module).clone();
        if !key.1.is_empty() {
            let lists = self.lists.entry(module.name.clone()).or_default();
            *lists += 1;
            if *lists > 1 {
                new.name = format!("{}_{lists}", module.name);
            }
        }
        new.parameters.clear();
        for memory in &mut new.memories {
            let Some(parameter) = memory.init.take() else { continue };
            memory.contents = images[parameter.index()].clone();
            if let Some(image) = &memory.contents {
                new.name = image.file.strip_suffix(".mem").unwrap_or(&image.file).to_owned();
                new.doc.iter_mut().for_each(|line| *line = line.replace(", read from INIT_FILE", ""));
            }
        }
        for instance in &mut new.instances {
            let mut inside: Vec<_> = instance.module.parameters.iter().map(|p| p.image.clone()).collect();
            for binding in std::mem::take(&mut instance.bindings) {
                inside[binding.to.index()].clone_from(&images[binding.from.index()]);
            }
            instance.module = self.module(&instance.module, &inside);
        }
        let new = Arc::new(new);
        self.done.insert(key, Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::rom_dp16kd;
    use crate::{Bits, Builder, Role};

    /// A memory whose contents are in its module has them still.
    #[test]
    fn contents_in_a_module_stay() {
        let words = (0..64).map(|at| Bits::new(64, at)).collect();
        let image = Arc::new(Image { file: "words.mem".to_owned(), words });
        let mut b = Builder::new("top");
        let [address, enable] =
            [("address", 6), ("enable", 1)].map(|(name, width)| b.input(name, width, Role::Control));
        let rom = b.instance("u_rom", &rom_dp16kd(&image).expect("a block RAM"));
        b.connect(rom, "address", address);
        b.connect(rom, "enable", enable);
        let data = b.out(rom, "data");
        b.output("data", data, Role::Data);
        let top = inlined(&b.finish());
        assert_eq!(top.instances[0].module.memories[0].contents.as_ref(), Some(&image));
    }
}
