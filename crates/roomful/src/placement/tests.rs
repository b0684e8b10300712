use std::num::NonZeroU32;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn room(name: &str) -> RoomName {
    RoomName::new(name)
}

fn busy(directory: &Directory, worker: usize, until: Instant) {
    let load = directory.load(WorkerIndex(worker)).unwrap();
    let mut meter = BusyMeter::new(until - 10 * SECOND);
    meter.handle_sleep(until, until, load);
}

fn above(participants: u32) -> Spreading {
    Spreading::Above(NonZeroU32::new(participants).unwrap())
}

fn participant(directory: &Arc<Directory>, name: &str, now: Instant) -> Arc<Seat> {
    directory.seat(&room(name), SeatKind::Newcomer, now).unwrap()
}

#[test]
fn a_room_begins_on_the_worker_that_has_least_to_do() {
    let now = Instant::now();
    let later = now + 20 * SECOND;
    let directory = Directory::new(3, Spreading::Never, now);
    busy(&directory, 0, later);
    busy(&directory, 2, later);
    assert_eq!(participant(&directory, "garden", later).worker(), WorkerIndex(1));
}

#[test]
fn a_burst_of_rooms_does_not_land_on_one_worker() {
    let now = Instant::now();
    let directory = Directory::new(4, Spreading::Never, now);
    let seats: Vec<_> =
        (0..100).map(|number| participant(&directory, &format!("room-{number}"), now)).collect();
    for worker in 0..4 {
        let placed = seats.iter().filter(|seat| seat.worker() == WorkerIndex(worker)).count();
        assert_eq!(placed, 25);
    }
}

#[test]
fn among_equally_idle_workers_the_one_with_fewest_participants_is_next() {
    let now = Instant::now();
    let directory = Directory::new(2, Spreading::Never, now);
    let seats: Vec<_> = (0..3).map(|_| participant(&directory, "garden", now)).collect();
    assert!(seats.iter().all(|seat| seat.worker() == WorkerIndex(0)), "a room stays together");
    let later = now + 60 * SECOND;
    assert_eq!(participant(&directory, "cellar", later).worker(), WorkerIndex(1));
}

#[test]
fn a_join_that_meets_the_end_of_its_room_finds_the_same_worker() {
    let now = Instant::now();
    let later = now + 60 * SECOND;
    let directory = Directory::new(2, Spreading::Never, now);
    let first = participant(&directory, "garden", now);
    let home = first.worker();
    directory.handle_event(home, &SfuEvent::RoomStarted(room("garden")));
    drop(first);
    let on_its_way = participant(&directory, "garden", later);
    directory.handle_event(home, &SfuEvent::RoomEnded(room("garden")));
    busy(&directory, home.0, later);
    assert_eq!(participant(&directory, "garden", later).worker(), home, "somebody is on the way");
    directory.handle_event(home, &SfuEvent::RoomStarted(room("garden")));
    drop(on_its_way);
    assert_eq!(participant(&directory, "garden", later).worker(), home, "it began anew");
}

#[test]
fn a_room_that_ended_is_forgotten_and_may_begin_elsewhere() {
    let now = Instant::now();
    let later = now + 60 * SECOND;
    let directory = Directory::new(2, Spreading::Never, now);
    let seat = participant(&directory, "garden", now);
    directory.handle_event(seat.worker(), &SfuEvent::RoomStarted(room("garden")));
    directory.handle_event(seat.worker(), &SfuEvent::RoomEnded(room("garden")));
    busy(&directory, seat.worker().0, later);
    drop(seat);
    assert!(directory.lock().rooms.is_empty());
    assert_eq!(participant(&directory, "garden", later).worker(), WorkerIndex(1));
}

#[test]
fn who_asks_for_a_room_that_never_begins_leaves_no_trace() {
    let directory = Directory::new(2, Spreading::Never, Instant::now());
    let visitor = directory.seat(&room("garden"), SeatKind::Visitor, Instant::now());
    assert_eq!(directory.lock().rooms.len(), 1);
    drop(visitor);
    let state = directory.lock();
    assert!(state.rooms.is_empty());
    assert!(state.workers.iter().all(|standing| standing.participants == 0));
}

#[test]
fn the_word_of_a_worker_about_anothers_room_changes_nothing() {
    let now = Instant::now();
    let directory = Directory::new(2, Spreading::Never, now);
    let seat = participant(&directory, "garden", now);
    let other = WorkerIndex(1 - seat.worker().0);
    directory.handle_event(seat.worker(), &SfuEvent::RoomStarted(room("garden")));
    directory.handle_event(other, &SfuEvent::RoomEnded(room("garden")));
    let home = seat.worker();
    drop(seat);
    assert_eq!(participant(&directory, "garden", now).worker(), home);
}

#[test]
fn a_room_spreads_when_its_home_has_enough_of_it_and_not_before() {
    let now = Instant::now();
    let directory = Directory::new(3, above(2), now);
    let seats: Vec<_> = (0..6).map(|_| participant(&directory, "garden", now)).collect();
    let workers: Vec<usize> = seats.iter().map(|seat| seat.worker().0).collect();
    assert_eq!(workers, [0, 0, 1, 1, 2, 2]);
    assert!(seats.iter().all(|seat| seat.home() == WorkerIndex(0)));
    drop(seats);
    assert_eq!(participant(&directory, "garden", now).worker(), WorkerIndex(0));
}

#[test]
fn a_room_whose_home_is_busy_goes_on_elsewhere_if_that_is_a_relief() {
    let now = Instant::now();
    let later = now + 20 * SECOND;
    let directory = Directory::new(2, Spreading::WhenBusy, now);
    let first = participant(&directory, "garden", now);
    busy(&directory, first.worker().0, later);
    assert_ne!(participant(&directory, "garden", later).worker(), first.worker());
    let everywhere = Directory::new(2, Spreading::WhenBusy, now);
    let first = participant(&everywhere, "garden", now);
    busy(&everywhere, 0, later);
    busy(&everywhere, 1, later);
    assert_eq!(participant(&everywhere, "garden", later).worker(), first.worker());
    let never = Directory::new(2, Spreading::Never, now);
    let first = participant(&never, "garden", now);
    busy(&never, first.worker().0, later);
    assert_eq!(participant(&never, "garden", later).worker(), first.worker());
}

#[test]
fn whoever_returns_is_led_to_the_part_it_was_in() {
    let now = Instant::now();
    let directory = Directory::new(3, above(1), now);
    let seats: Vec<_> = (0..3).map(|_| participant(&directory, "garden", now)).collect();
    for seat in &seats {
        let returning = SeatKind::Returning(Some(seat.worker().origin()));
        let again = directory.seat(&room("garden"), returning, now).unwrap();
        assert_eq!(again.worker(), seat.worker());
    }
    let unknown = SeatKind::Returning(Some(Origin::of(9)));
    let lost = directory.seat(&room("garden"), unknown, now).unwrap();
    assert_eq!(lost.worker(), seats[0].home());
}
