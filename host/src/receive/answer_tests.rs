//! Faults by simulated time: which is in force when, and which specifications can be followed.

use super::*;

fn faults(text: &str) -> Vec<Fault> {
    Fault::parse(text).unwrap()
}

fn status(planned: &Planned) -> Option<u16> {
    match &planned.then {
        Then::Answer(answer) => Some(answer.status.as_u16()),
        _ => None,
    }
}

#[test]
fn counted_faults_follow_each_other_and_end() {
    let now = Instant::now();
    let mut plan = Plan::new(faults(r#"[{"status":503,"count":2},{"drop":true,"count":1}]"#), now);
    let answers: Vec<_> = (0..4).map(|_| plan.next(now)).collect();
    assert_eq!((status(&answers[0]), status(&answers[1])), (Some(503), Some(503)));
    assert_eq!(answers[2].then, Then::Drop);
    assert_eq!(answers[3], Planned::default());
}

#[test]
fn timed_faults_start_when_the_one_before_ends() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut plan = Plan::new(faults("status=500,for_s=10"), start);
    plan.push(faults("status=429,for_s=10"), at(5)).unwrap();
    assert_eq!(status(&plan.next(at(9))), Some(500));
    assert_eq!(status(&plan.next(at(10))), Some(429));
    assert_eq!(status(&plan.next(at(19))), Some(429));
    assert_eq!(plan.next(at(20)), Planned::default());
}

#[test]
fn a_fault_pushed_after_another_ended_starts_at_once() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut plan = Plan::new(faults("status=500,for_s=1"), start);
    assert_eq!(plan.push(faults("status=502,for_s=5"), at(100)), Ok(1));
    assert_eq!(status(&plan.next(at(104))), Some(502));
    assert_eq!(plan.next(at(105)), Planned::default());
}

#[test]
fn count_and_time_together_end_with_whichever_is_first() {
    let start = Instant::now();
    let mut plan = Plan::new(faults("status=500,count=2,for_s=10"), start);
    assert_eq!(status(&plan.next(start)), Some(500));
    assert_eq!(plan.next(start + Duration::from_secs(10)), Planned::default());
    plan.push(faults("status=500,count=1,for_s=10"), start).unwrap();
    plan.next(start);
    assert_eq!(plan.next(start), Planned::default());
}

#[test]
fn without_count_and_time_it_lasts_until_cleared() {
    let start = Instant::now();
    let late = start + Duration::from_secs(1_000_000);
    let mut plan = Plan::new(faults("status=500"), start);
    assert_eq!(status(&plan.next(late)), Some(500));
    assert_eq!(plan.waiting(late), 1);
    assert_eq!(plan.clear(late), 1);
    assert_eq!(plan.next(late), Planned::default());
}

#[test]
fn both_forms_say_the_same() {
    let short = faults("status=429,retry_after=1,body=slow down,delay_s=0.5");
    assert_eq!(short, faults(r#"{"status":429,"retry_after":"1","body":"slow down","delay_s":0.5}"#));
    assert_eq!(short[0].answer.delay, Duration::from_millis(500));
    let Then::Answer(Answer { headers, body, .. }) = &short[0].answer.then else { panic!("{short:?}") };
    assert_eq!(headers, &[(RETRY_AFTER, HeaderValue::from_static("1"))]);
    assert_eq!(body, "slow down");
}

#[test]
fn what_can_not_be_followed_is_refused() {
    for bad in [
        "",
        "503",
        "{",
        "[]",
        "7",
        "status=99",
        "status=600",
        "status=x",
        "status=500,status=501",
        "count=0",
        "count=-1",
        "for_s=-1",
        "for_s=1e9",
        "delay_s=NaN",
        "delay_s=-1",
        "typo=1",
        "drop=true,hang=true",
        "drop=true,status=500",
        "hang=true,body=x",
        "body=x",
        r#"{"status":500,"retry_after":true}"#,
        r#"{"status":500,"headers":{"a b":"c"}}"#,
        r#"{"status":500,"headers":{"a":"c\n"}}"#,
    ] {
        assert!(Fault::parse(bad).is_err(), "{bad} was taken");
    }
}

#[test]
fn the_queue_is_bounded() {
    let now = Instant::now();
    let mut plan = Plan::new(Vec::new(), now);
    for _ in 0..MAX_QUEUED {
        plan.push(faults("status=500,count=1"), now).unwrap();
    }
    assert!(plan.push(faults("status=500,count=1"), now).is_err());
}
