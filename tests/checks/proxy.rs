//! `app::Proxy` before an upstream that says what the input says, cut where the input says; `upstream` has what must hold.

use std::sync::OnceLock;
use std::time::Duration;

use doorway::app::Proxy;

use super::Input;
use super::upstream::{Scene, Upstream, check_response, read_answer};

pub fn check(bytes: &[u8]) {
    static PROXY: OnceLock<(Upstream, Proxy)> = OnceLock::new();
    let (upstream, proxy) = PROXY.get_or_init(|| {
        let (upstream, limit) = (Upstream::new(), Duration::from_secs(15));
        let proxy = Proxy::to(&format!("http://{}", upstream.address())).unwrap();
        let proxy = proxy.connect_deadline(limit).first_byte_deadline(limit).progress_deadline(limit);
        (upstream, proxy)
    });
    let scene = Scene::of(&mut Input::new(bytes), <[u8]>::to_vec);
    check_response(&upstream.ask(proxy, &scene), &read_answer(&scene.said, scene.is_head()), &scene);
}
