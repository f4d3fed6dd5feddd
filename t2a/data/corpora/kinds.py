"""Thirty kinds of made-up sounds, each with captions that tell the parameters drawn for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2a.data.corpora.synthesis import Made, Take, number, pace, pitch, sweep, times, told, tone


def beep(take: Take) -> Made:
    hertz = round(take.between(150, 3000))
    captions = f"a {pitch(hertz)} beep holds one tone.", f"a pure tone of {hertz} hertz."
    return told(tone(take.time, hertz), "alerts", *captions)


def beeps(take: Take) -> Made:
    hertz, count = take.between(400, 2500), take.count(1, 6, 0.3)
    wave = take.place(take.even(count), lambda t: tone(t, hertz) * (t < 0.15))
    return told(wave, "alerts", f"{number(count, f'short {pitch(hertz)} beep')}.", f"a device beeps {times(count)}.")


def siren(take: Take) -> Made:
    speed = take.between(0.3, 3.0)
    wave = sweep(900 + 400 * np.sin(2 * np.pi * speed * take.time), take.rate)
    word = pace(speed, 0.8, 1.8)
    return told(wave, "alerts", f"a siren wails up and down at a {word} pace.", f"a {word} wailing siren.")


def alarm(take: Take) -> Made:
    high, speed = take.between(900, 1600), take.between(1, 5)
    wave = sweep(np.where(take.time * speed % 1 < 0.5, high, high * 0.75), take.rate)
    word = pace(speed, 2, 3.5)
    return told(wave, "alerts", f"a two-tone alarm alternates at a {word} pace.", f"a {word} two-tone alarm.")


def whistle(take: Take) -> Made:
    glide = np.geomspace(take.between(150, 500), take.between(1500, 4000), len(take.time))
    if take.heads():
        captions = "a rising whistle glides through the frequencies.", "a tone climbs in pitch."
        return told(sweep(glide, take.rate), "effects", *captions)
    captions = "a falling whistle glides through the frequencies.", "a tone sinks in pitch."
    return told(sweep(glide[::-1], take.rate), "effects", *captions)


def rain(take: Take) -> Made:
    heavy = take.heads()
    splashes = take.rng.uniform(0, take.seconds, 10 if heavy else 25)
    wave = take.noise(800, 7500, 0.3) * (0.9 if heavy else 0.15)
    wave += take.place(splashes, lambda t: 0.4 * tone(t, 2500) * np.exp(-90 * t))
    if heavy:
        return told(wave, "nature", "heavy rain pours down.", "a heavy downpour of rain.")
    return told(wave, "nature", "light rain falls.", "a drizzle of rain.")


def wind(take: Take) -> Made:
    strong = take.heads()
    gusts = 0.6 + 0.4 * np.sin(2 * np.pi * take.between(0.2, 0.6) * take.time + take.between(0, 6))
    wave = take.noise(60, 1200 if strong else 400, 0.8) * gusts
    if strong:
        return told(wave, "nature", "a strong wind howls in gusts.", "strong gusts of wind.")
    return told(wave, "nature", "a gentle wind blows.", "a soft breeze.")


def surf(take: Take) -> Made:
    swell = 0.15 + np.sin(np.pi * take.between(0.2, 0.5) * take.time) ** 4
    captions = "waves roll onto a beach.", "the sea swells and breaks on the shore."
    return told(take.noise(100, 5000, 0.5) * swell, "nature", *captions)


def hiss(take: Take) -> Made:
    count = take.count(1, 5, 0.5)
    wave = take.bursts(take.even(count), 6, 2000, 8000)
    return told(wave, "effects", f"{number(count, 'burst')} of hissing noise.", f"noise hisses {times(count)}.")


def hum(take: Take) -> Made:
    hertz = take.choose([50, 60, 100, 120])
    wave = tone(take.time, hertz, (1.0, 0.6, 0.4, 0.2, 0.2, 0.1))
    return told(wave, "machines", f"an electric hum at {hertz} hertz.", "a transformer hums.")


def engine(take: Take) -> Made:
    revving = take.heads()
    hertz = take.between(25, 60) * (1 + (2 * take.time / take.seconds if revving else 0.03 * np.sin(9 * take.time)))
    phase = 2 * np.pi * np.cumsum(hertz) / take.rate
    wave = np.sum([np.sin(k * phase) / k**0.7 for k in range(1, 12)], axis=0) + 0.6 * take.noise(80, 900)
    if revving:
        return told(wave, "vehicles", "an engine revs up.", "a motor speeds up.")
    return told(wave, "vehicles", "an engine idles.", "a motor runs at a steady speed.")


def bell(take: Take) -> Made:
    hertz, count = take.between(250, 1200), take.count(1, 4, 0.8)
    partials = {0.5: 0.5, 1.0: 1.0, 1.19: 0.6, 1.56: 0.4, 2.0: 0.5, 2.66: 0.3}  # of a church bell: not harmonic

    def strike(t: np.ndarray) -> np.ndarray:
        return np.sum([a * tone(t, hertz * r) * np.exp(-1.5 * r * t) for r, a in partials.items()], axis=0)

    size = "large" if hertz < 500 else "small"
    captions = f"a {size} bell is struck {times(count)}.", f"a {size} bell rings {times(count)}."
    return told(take.place(take.even(count), strike), "alerts", *captions)


def claps(take: Take) -> Made:
    count = take.count(1, 8, 0.3)
    wave = take.bursts(take.even(count, 0.2), 60, 700, 5000)
    return told(wave, "people", f"hands clap {times(count)}.", f"someone claps {times(count)}.")


def heartbeat(take: Take) -> Made:
    bpm = round(take.between(45, 150))
    beats = np.arange(0, take.seconds, 60 / bpm)
    wave = take.place(beats, lambda t: tone(t, 55) * np.exp(-25 * t))
    wave += 0.7 * take.place(beats + 18 / bpm, lambda t: tone(t, 55) * np.exp(-25 * t))
    captions = f"a {pace(bpm, 70, 110)} heartbeat.", f"a heart beats at {bpm} beats per minute."
    return told(wave, "people", *captions)


def drums(take: Take) -> Made:
    bpm = round(take.between(60, 180))
    beats = np.arange(0, take.seconds, 60 / bpm)
    # The pitch of a kick falls from 250 to 50 Hz in its first moments.
    kick = take.place(beats[::2], lambda t: tone(t + 0.16 * (1 - np.exp(-25 * t)), 50) * np.exp(-9 * t))
    snare = take.bursts(beats[1::2], 22, 300, 7000)
    captions = f"a {pace(bpm, 85, 135)} drum beat.", f"kick and snare drums play at {bpm} beats per minute."
    return told(kick + 0.7 * snare, "drums", *captions)


def footsteps(take: Take) -> Made:
    speed, surface = take.between(1.2, 3.2), take.choose(["wood", "gravel", "snow"])
    low, high, decay = {"wood": (80, 700, 30), "gravel": (1200, 7000, 14), "snow": (300, 2500, 9)}[surface]
    wave = take.bursts(np.arange(0, take.seconds, 1 / speed), decay, low, high)
    verb = "walks" if speed < 2.3 else "runs"
    captions = f"someone {verb} on {surface}.", f"{pace(speed, 1.7, 2.3)} footsteps on {surface}."
    return told(wave, "footsteps", *captions)


def clock(take: Take) -> Made:
    speed = take.choose([1, 2, 4])
    ticks = np.arange(0, take.seconds, 1 / speed)
    wave = take.place(ticks, lambda t: tone(t, 2800, (1, 0.5)) * np.exp(-180 * t))
    return told(wave, "objects", f"a clock ticks {times(speed)} a second.", "the ticking of a clock.")


def telephone(take: Take) -> Made:
    ringing = (take.time % 1.0 < 0.6) & (np.sin(2 * np.pi * 20 * take.time) > 0)
    wave = (tone(take.time, 1350) + tone(take.time, 1800)) * ringing
    return told(wave, "alerts", "a telephone rings.", "an old telephone rings again and again.")


def knocks(take: Take) -> Made:
    count, material = take.count(1, 6, 0.3), take.choose(["wooden", "metal"])
    hertz, decay = (190, 40) if material == "wooden" else (620, 14)
    wave = take.place(take.even(count, 0.1), lambda t: tone(t, hertz, (1, 0.7, 0.5, 0.3)) * np.exp(-decay * t))
    captions = (
        f"{number(count, 'knock')} on a {material} door.",
        f"someone knocks {times(count)} on a {material} door.",
    )
    return told(wave, "doors", *captions)


def thunder(take: Take) -> Made:
    near = take.heads()
    swell = take.place(take.rng.uniform(0, take.seconds / 2, 5), lambda t: np.exp(-2 * t) * (1 - np.exp(-20 * t)))
    wave = take.noise(20, 1500 if near else 150, 1.0) * swell
    if near:
        return told(wave, "nature", "thunder cracks nearby.", "a loud clap of thunder.")
    return told(wave, "nature", "thunder rumbles far away.", "distant thunder.")


def bird(take: Take) -> Made:
    count, hertz = take.count(1, 8, 0.25), take.between(2500, 4500)

    def chirp(t: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * (hertz * t + 4 * np.sin(70 * t))) * np.sin(np.pi * np.clip(t / 0.15, 0, 1))

    captions = f"a bird chirps {times(count)}.", f"{number(count, 'chirp')} of a small bird."
    return told(take.place(take.even(count, 0.3), chirp), "animals", *captions)


def cricket(take: Take) -> Made:
    song = (take.time * take.between(1.5, 3) % 1 < 0.5) * np.clip(np.sin(2 * np.pi * 30 * take.time), 0, 1)
    wave = tone(take.time, take.between(4000, 5500)) * song
    return told(wave, "animals", "a cricket chirps at night.", "the shrill song of a cricket.")


def helicopter(take: Take) -> Made:
    speed = take.between(8, 18)
    wave = take.noise(40, 1500, 0.6) * np.exp(-6 * (take.time * speed % 1))
    captions = "a helicopter hovers.", f"the rotor of a helicopter chops the air at a {pace(speed, 11, 15)} pace."
    return told(wave, "vehicles", *captions)


def typing(take: Take) -> Made:
    speed = take.between(2.5, 9)
    keys = np.cumsum(take.rng.exponential(1 / speed, int(take.seconds * speed) + 1)) % take.seconds
    word = {"slow": "slowly", "steady": "steadily", "fast": "fast"}[pace(speed, 4, 6.5)]
    captions = f"someone types {word} on a keyboard.", "keys of a keyboard click."
    return told(take.bursts(keys, 110, 1500, 7000), "objects", *captions)


def drips(take: Take) -> Made:
    count = take.count(1, 7, 0.35)
    wave = take.place(take.even(count, 0.5), lambda t: np.sin(2 * np.pi * (700 * t + 4500 * t**2)) * np.exp(-28 * t))
    return told(wave, "nature", f"water drips {times(count)}.", f"the sound of {number(count, 'drop')} of water.")


def string(take: Take) -> Made:
    hertz, count = take.between(80, 700), take.count(1, 4, 0.6)
    wave = take.place(take.even(count), lambda t: tone(t, hertz, [1 / (k + 1) for k in range(10)], decay=0.9))
    captions = f"a {pitch(hertz)} string is plucked {times(count)}.", f"{number(count, f'{pitch(hertz)} guitar note')}."
    return told(wave, "music", *captions)


def organ(take: Take) -> Made:
    mode, root = take.choose(["major", "minor"]), take.between(130, 400)
    chord = (0, 4, 7) if mode == "major" else (0, 3, 7)
    wave = np.sum([tone(take.time, root * 2 ** (n / 12), (1, 0.5, 0.3, 0.2)) for n in chord], axis=0)
    return told(wave, "music", f"an organ holds a {mode} chord.", f"a sustained {mode} chord on an organ.")


def zap(take: Take) -> Made:
    count = take.count(1, 5, 0.45)
    wave = take.place(take.even(count), lambda t: tone(1 - np.exp(-14 * t), 200) * np.exp(-7 * t))
    captions = f"a laser zaps {times(count)}.", f"{number(count, 'shot')} of a laser weapon in a science fiction game."
    return told(wave, "scifi", *captions)


def explosion(take: Take) -> Made:
    size = take.choose(["small", "large"])
    high, decay = (4000, 6.0) if size == "small" else (900, 1.8)
    wave = take.noise(20, high, 0.7) * np.exp(-decay * take.time)
    return told(wave, "explosion", f"a {size} explosion.", f"a {size} blast.")


def steam(take: Take) -> Made:
    speed = take.between(1, 6)
    wave = take.noise(300, 6000) * np.exp(-4 * (take.time * speed % 1))
    word = pace(speed, 2, 4)
    return told(wave, "vehicles", f"a steam engine puffs at a {word} pace.", f"{word} puffs of steam.")


KINDS: dict[str, Callable[[Take], Made]] = {
    make.__name__: make
    for make in (
        beep, beeps, siren, alarm, whistle, rain, wind, surf, hiss, hum, engine, bell, claps, heartbeat, drums,
        footsteps, clock, telephone, knocks, thunder, bird, cricket, helicopter, typing, drips, string, organ, zap,
        explosion, steam,
    )
}  # fmt: skip
