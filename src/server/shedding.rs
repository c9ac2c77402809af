//! Which connections are closed for others: to make room for one more, and where those that wait hold too much memory together.
//!
//! For room it is the one that has waited longest of the address that has most waiting, for memory the largest of the address that holds most: who
//! has one connection goes behind whoever has many, and an IPv6 client counts as its network of 64 bits. To find it all that wait are looked at.
//! So that nobody who keeps a server at a limit has that done by each connection that he opens, or each byte that he sends, a hundredth of all
//! goes with what must.
//!
//! The caller holds no lock, and of the shards' one at a time is held. What has said something since it was looked at stays; what is in a
//! call, what a worker blocks on and what has left is in no shard, cannot be closed, and holds no memory that waits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::connection::Connection;
use super::engine::Engine;
use crate::cause::Cause;
use crate::door::Peer;
use crate::gateway::network;

/// What is closed at once of all that waits.
const PART: usize = 100;

/// What an address weighs when all behind this connection of it have gone, where that is known; how much the connection weighs, since when it
/// waits, and from where it came. The last in this order goes first.
type Waiting = (usize, usize, Reverse<Instant>, Option<IpAddr>);

impl Engine {
    /// Closes connections for one more. Tells whether there were any.
    pub(super) fn make_room(&self) -> bool {
        // One without a place has been closed already, and waits for a thread that closes its body.
        self.close(Cause::ConnectionLimit, |connection| usize::from(connection.place.is_some()), 1)
    }

    /// Closes connections where they hold too much memory.
    #[inline]
    pub(super) fn keep_within_memory(&self) {
        if self.shared.places.memory.load(Ordering::Relaxed) > self.shared.settings.held {
            self.shed();
        }
    }

    #[cold]
    fn shed(&self) {
        // Two that close for the same excess would close too many.
        let alone = self.shared.shedding.try_lock();
        let excess = self.shared.places.memory.load(Ordering::Relaxed).saturating_sub(self.shared.settings.held);
        if alone.is_ok() && excess > 0 {
            self.close(Cause::HeldLimit, Connection::held, excess);
        }
    }

    fn close(&self, cause: Cause, weight: fn(&Connection) -> usize, excess: usize) -> bool {
        let seen =
            |connection: &Connection| (0, weight(connection), Reverse(connection.since), client(&connection.peer));
        let mut waiting = Vec::new();
        for shard in &self.shards {
            waiting.extend(shard.lock().all().map(seen).filter(|(_, weight, ..)| *weight > 0));
        }
        let mut chosen = choose(waiting, excess);
        chosen.sort_unstable();
        let most = chosen.len();
        let mut is_chosen = |connection: &Connection| {
            let found = chosen.binary_search(&seen(connection));
            found.map(|at| chosen.remove(at)).is_ok()
        };
        for shard in &self.shards {
            let has_bodies = shard.lock().close(cause, &mut is_chosen, &self.shared);
            // They are closed by its worker, which may be asleep.
            if has_bodies {
                shard.wake_worker();
            }
        }
        chosen.len() < most
    }
}

/// From where a connection came.
fn client(peer: &Peer) -> Option<IpAddr> {
    peer.address.map(|(address, _)| network(address))
}

/// Those that go, until so much has gone and a hundredth of all: as if one went after the other, each of the address that weighs most then.
fn choose(mut waiting: Vec<Waiting>, excess: usize) -> Vec<Waiting> {
    waiting.sort_unstable();
    let mut sums = HashMap::new();
    for (sum, weight, _, client) in &mut waiting {
        let of_client = sums.entry(*client).or_insert(0);
        *of_client += *weight;
        *sum = *of_client;
    }
    waiting.sort_unstable();
    let mut must = excess.saturating_add(sums.values().sum::<usize>() / PART);
    let goes = |(_, weight, ..): &Waiting| {
        let goes = must > 0;
        must = must.saturating_sub(*weight);
        goes
    };
    waiting.into_iter().rev().take_while(goes).map(|(_, weight, since, client)| (0, weight, since, client)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    /// One for each of these weights and addresses, the oldest first.
    fn waiting(all: impl IntoIterator<Item = (usize, u32)>) -> Vec<Waiting> {
        let begin = Instant::now();
        let one = |((weight, address), at)| {
            (0, weight, Reverse(begin + Duration::from_millis(at)), Some(Ipv4Addr::from(address).into()))
        };
        all.into_iter().zip(0..).map(one).collect()
    }

    #[test]
    fn for_one_the_oldest_of_the_busiest_address_goes_and_a_lone_client_last() {
        let all = waiting([7, 1, 1, 2, 1, 2].into_iter().chain(100..193).map(|address| (1, address)));
        for count in 5..=all.len() {
            assert_eq!(choose(all[..count].to_vec(), 1), [all[1]], "{count}");
        }
        assert_eq!(choose(all[..1].to_vec(), 1), [all[0]]);
        assert_eq!(choose(Vec::new(), 1), []);
    }

    #[test]
    fn who_has_a_network_of_ipv6_does_not_pass_for_many() {
        let from = |address: &str| client(&Peer::new(address.parse().unwrap()));
        assert_eq!(from("[2001:db8::1]:1"), from("[2001:db8::ffff:2]:2"));
        assert_ne!(from("[2001:db8::1]:1"), from("[2001:db8:0:1::1]:1"));
        assert_ne!(from("192.0.2.1:1"), from("192.0.2.2:1"));
        assert_eq!(client(&Peer::default()), None);
    }

    #[test]
    fn of_many_addresses_with_one_each_the_oldest_go() {
        let all = waiting((0..1_000).map(|address| (1, address)));
        assert_eq!(choose(all.clone(), 1), all[..11]);
    }

    #[test]
    fn for_memory_the_largest_of_the_address_that_holds_most_go_and_no_more_than_must() {
        let all = waiting([(40, 1), (20, 2), (10, 2), (20, 2), (30, 3), (1, 2)]);
        let sizes = |excess| choose(all.clone(), excess).iter().map(|one| one.1).collect::<Vec<_>>();
        // A hundredth of 121 with it.
        assert_eq!((sizes(19), sizes(20)), (vec![20], vec![20, 40]));
        assert_eq!(sizes(usize::MAX), [20, 40, 20, 30, 10, 1]);
    }

    #[test]
    fn a_hundredth_goes_as_if_one_after_the_other_had() {
        let mut seed = 1_u32;
        for round in 0..20 {
            let mut next = |below: u32| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 16) % below
            };
            let all = (0..500).map(|_| {
                // Some addresses have many, and many have few.
                let addresses = 1 + next(20) * 10;
                (1 + next(1 + round) as usize * 100, next(addresses))
            });
            let mut left = waiting(all);
            let (gone, mut expected) = (choose(left.clone(), 1_000), Vec::new());
            let mut must = 1_000 + left.iter().map(|one| one.1).sum::<usize>() / PART;
            while must > 0 && !left.is_empty() {
                let sum = |address| left.iter().filter(|one| one.3 == address).map(|one| one.1).sum::<usize>();
                let next = left.iter().max_by_key(|one| (sum(one.3), **one)).copied().unwrap();
                must = must.saturating_sub(next.1);
                left.retain(|one| *one != next);
                expected.push(next);
            }
            assert_eq!(gone, expected, "{round}");
        }
    }
}
