//! What has no meaning on systems that are no Unix: sockets and privileges are not handed over there, and no service manager is told anything.

pub mod notify {
    pub fn say(_state: &str) {}

    pub fn begin(_observer: doorway::Observer) -> std::io::Result<()> {
        Ok(())
    }
}

pub mod privileges {
    use std::io;

    use crate::options::Options;
    use crate::sockets::Inherited;

    pub fn settle(options: &Options, _inherited: &mut Inherited) -> io::Result<()> {
        let wrong = || io::Error::new(io::ErrorKind::Unsupported, "--user needs a Unix system");
        options.user.as_ref().map_or(Ok(()), |_| Err(wrong()))
    }

    pub fn is_root_by_chance(_options: &Options) -> bool {
        false
    }

    pub fn check(_options: &Options, _is_own: bool) -> io::Result<()> {
        Ok(())
    }
}

pub mod sockets {
    use std::io;

    use crate::doors::Servers;

    #[derive(Default)]
    pub struct Inherited {
        pub servers: Servers,
        pub is_managed: bool,
    }

    impl Inherited {
        pub fn take() -> io::Result<Inherited> {
            Ok(Inherited::default())
        }

        pub fn tell_ready(&mut self) {}
    }

    pub fn start_successor(_stopper: &doorway::Stopper) -> io::Result<Option<u32>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn end_successor() {}
}
