"""The life of graduates: which stays are theirs, what is counted, and what the picture shows."""

import pytest

from eval.report import life
from eval.report.connection import open_database
from eval.report.life import Lives, Stay
from zppo_core.errors import UserError

RUN = "nano-zppo-s0"


def stay(name: str, entered: int, left: int | None, graduated: bool = True) -> Stay:
    return Stay(name, entered, ((entered, 0.0),), left, graduated, ())


def test_stays_are_those_of_the_database_with_their_askings_and_fates(database_path) -> None:
    with open_database(database_path) as connection:
        found = life.lives(connection, RUN, 0.0)
        counted = connection.execute(
            "SELECT fate, count(*), sum(visits) FROM buffer_entries "
            "WHERE run_key = ? AND entry_bin = 0 GROUP BY fate",
            [RUN],
        ).fetchall()
        made = connection.execute(
            "SELECT count(*) FROM groups JOIN buffer_entries USING (run_key, question_id) "
            "WHERE run_key = ? AND entry_bin = 0 AND kind IN ('bcq', 'ncq') "
            "AND step BETWEEN entry_step AND coalesce(exit_step, 1000)",
            [RUN],
        ).fetchone()
    fates = {fate: n for fate, n, _ in counted}
    assert len(found.stays) == sum(fates.values())
    assert len(found.graduates) == fates["graduate"]
    assert sum(s.left is None for s in found.stays) == fates["held"]
    assert sum(len(s.reformulated) for s in found.stays) == made[0] > 0
    for s in found.graduates:
        assert s.asked[0] == (s.entered, 0.0)
        assert s.asked[-1][0] == s.left
        assert s.asked[-1][1] >= 0.5
    leaves = [s.left for s in found.graduates]
    assert leaves == sorted(leaves)


def test_a_share_is_of_the_questions_that_could_be_seen_so_long(monkeypatch) -> None:
    monkeypatch.setattr(life, "FEWEST", 2)
    stays = (stay("a", 0, 2), stay("b", 0, None, False), stay("c", 3, 4), stay("d", 3, 4, False))
    # of age 0 and 1 all four, of age 2 and more those that entered at step 0
    shares = Lives("run", 5, stays).within()
    assert shares == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.5), (4, 0.5)]
    monkeypatch.setattr(life, "FEWEST", 3)
    assert Lives("run", 5, stays).within() == shares[:2]


def test_who_was_right_beside_candidates_is_counted_of_those_who_were_shown_any() -> None:
    def asked(*accuracies: float) -> Stay:
        return Stay("a", 0, (), 1, True, tuple((0, "bcq", a) for a in accuracies))

    assert life.helped([asked(0.0, 0.25), asked(0.0), asked(), asked(1.0)]) == "2 of 3"
    assert life.helped([asked()]) == "0 of 0"


def test_names_lose_the_parts_that_all_begin_with() -> None:
    assert life.short(["zone-zone-zppo-s1", "zone-zone-zppo_placebo-s1"]) == [
        "zppo-s1",
        "zppo_placebo-s1",
    ]
    assert life.short(["first"]) == ["first"]
    assert life.short(["same-a", "other-a"]) == ["same-a", "other-a"]


def test_a_sample_has_the_first_and_the_last() -> None:
    many = [stay(str(i), 0, i) for i in range(100)]
    chosen = life.sample(many)
    assert (len(chosen), chosen[0], chosen[-1]) == (life.MOST, many[0], many[-1])
    assert [int(s.question) for s in chosen] == sorted(int(s.question) for s in chosen)
    assert life.sample(many[:7]) == many[:7]


def test_the_command_writes_a_picture_and_a_row_for_each_run(
    database_path, tmp_path, capsys
) -> None:
    picture = tmp_path / "life.svg"
    runs = [RUN, "nano-grpo_replay-s0"]
    where = ["--database", str(database_path), "--out", str(picture)]
    assert life.main([*runs, *where]) == 0
    said = capsys.readouterr().out
    assert [line.split("`")[1] for line in said.splitlines() if "`" in line] == runs
    drawn = picture.read_text()
    assert "zppo-s0: " in drawn or drawn.count("<path") > 100  # text may be drawn as paths
    life.main([*runs, *where])
    assert picture.read_text() == drawn


def test_a_run_without_such_questions_is_told(database_path, capsys) -> None:
    with open_database(database_path) as connection, pytest.raises(UserError, match="`zppo runs`"):
        life.lives(connection, "nobody", 0.0)
    assert life.main([RUN, "--entry", "99", "--database", str(database_path)]) == 2
    assert "entered the buffer at 99 %" in capsys.readouterr().err
