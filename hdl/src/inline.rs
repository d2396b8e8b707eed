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
            memory.contents = memory.init.take().and_then(|parameter| images[parameter.index()].clone());
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
