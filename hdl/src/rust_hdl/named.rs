//! Blocks with named ports.

/// Declares a struct for modules that have exactly the named ports. The struct is a rust-hdl block. Its fields are the ports,
/// each a [`Port`](crate::rust_hdl::Port) as wide as the module's, and `clock` and `reset`, used if the module has them.
///
/// `new(&module, engine)` returns the block, or an error that names a missing port. `core()` returns the module and its memory
/// images.
///
/// ```
/// stoxnor_hdl::rust_hdl_block! {
///     /// Processing elements of any size.
///     pub struct Element { enable, first, a, w, sum }
/// }
/// ```
#[macro_export]
macro_rules! rust_hdl_block {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident { $($port:ident),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug)]
        $visible struct $name {
            /// The clock, used if the module has one.
            pub clock: $crate::rust_hdl::rust_hdl_core::prelude::Signal<
                $crate::rust_hdl::rust_hdl_core::prelude::In,
                $crate::rust_hdl::rust_hdl_core::prelude::Clock,
            >,
            /// The reset, used if the module has one; high for some cycles at the start.
            pub reset: $crate::rust_hdl::rust_hdl_core::prelude::Signal<
                $crate::rust_hdl::rust_hdl_core::prelude::In,
                $crate::rust_hdl::rust_hdl_core::prelude::Bit,
            >,
            $(#[doc = concat!("Port `", stringify!($port), "`.")] pub $port: $crate::rust_hdl::Port,)+
            core: $crate::rust_hdl::Core,
        }

        impl $name {
            /// The block of `module`, simulated by `engine`.
            ///
            /// # Errors
            /// If the module has other ports, or cannot be used in a rust-hdl design.
            pub fn new(
                module: &::std::sync::Arc<$crate::Module>,
                engine: impl $crate::rust_hdl::Engine + 'static,
            ) -> ::std::result::Result<Self, $crate::rust_hdl::Unfit> {
                let core = $crate::rust_hdl::Core::new(module, engine)?;
                let [$($port),+] = core.ports([$(stringify!($port)),+])?;
                Ok(Self { clock: Default::default(), reset: Default::default(), $($port,)+ core })
            }

            /// The common part of the block.
            #[allow(dead_code)]
            pub fn core(&self) -> &$crate::rust_hdl::Core {
                &self.core
            }
        }

        impl $crate::rust_hdl::rust_hdl_core::prelude::Logic for $name {
            fn update(&mut self) {
                self.core.update(&self.clock, &self.reset, &mut [$(&mut self.$port),+]);
            }

            fn connect(&mut self) {
                for port in [$(&mut self.$port),+] {
                    if port.output() {
                        $crate::rust_hdl::rust_hdl_core::prelude::Logic::connect(port);
                    }
                }
            }

            fn hdl(&self) -> $crate::rust_hdl::rust_hdl_core::prelude::Verilog {
                self.core.hdl(&[$((stringify!($port), &self.$port)),+])
            }
        }

        impl $crate::rust_hdl::rust_hdl_core::prelude::Block for $name {
            fn connect_all(&mut self) {
                $crate::rust_hdl::rust_hdl_core::prelude::Logic::connect(self);
            }

            fn update_all(&mut self) {
                $crate::rust_hdl::rust_hdl_core::prelude::Logic::update(self);
                $crate::rust_hdl::rust_hdl_core::prelude::Block::update_all(&mut self.clock);
                $crate::rust_hdl::rust_hdl_core::prelude::Block::update_all(&mut self.reset);
                $($crate::rust_hdl::rust_hdl_core::prelude::Block::update_all(&mut self.$port);)+
            }

            fn has_changed(&self) -> bool {
                use $crate::rust_hdl::rust_hdl_core::prelude::Block;
                self.clock.has_changed() || self.reset.has_changed() $(|| self.$port.has_changed())+
            }

            fn accept(&self, name: &str, probe: &mut dyn $crate::rust_hdl::rust_hdl_core::prelude::Probe) {
                probe.visit_start_scope(name, self);
                self.core.accept(&self.clock, &self.reset, probe);
                $($crate::rust_hdl::rust_hdl_core::prelude::Block::accept(&self.$port, stringify!($port), probe);)+
                probe.visit_end_scope(name, self);
            }
        }
    };
}
