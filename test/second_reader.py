#!/usr/bin/env python3
"""A second reader of recordings, written from docs/FORMAT.md alone.

Prints, as JSON: how many records there are of each kind, of each process, how often
each function was called, which references messages carry, when the last event was, the
ledger, and what is damaged. It shares no code with Spoor: where the two disagree, one of
them, or the document, is wrong.

    test/second_reader.py FILE
"""

import json
import struct
import sys
import zlib
from collections import Counter

FRONT = 32768
CHUNK_HEADER = 64
MASK = (1 << 64) - 1
PHASES = {0: "preparing", 1: "recording", 2: "stopping", 3: "stopped"}
KINDS = {1: "scheduler", 2: "dirty_cpu", 3: "dirty_io", 4: "recorder", 5: "other"}
CAUSES = ["no_chunk", "too_large", "after_limit", "no_lane", "panic", "nested"]
TIMED = {"event", "info"}
CLASSES = {"define", "context", "annotate"} | TIMED

# Ids, classes, names and fields of version 1.1 (section 7).
TABLE = """
1 define define_atom text:text
2 define define_function module:atom name:atom arity:uint
3 define define_reference numbers:words
8 context process pid:uint
9 context port port:uint
10 context nobody
16 annotate match_result value:term
17 annotate content value:term
18 annotate dropped since:uint lasted:uint events:uint
19 annotate missing any:uint
20 annotate message shape:uint reference:term
21 annotate message_of shape:uint reference:uint
22 annotate reply_to_alias reference:uint
32 event call function:function
33 event return_to function:function
34 event return_from function:function
35 event exception_from function:function class:atom
36 event in function:function
37 event out function:function
38 event in_exiting function:function
39 event out_exiting function:function
40 event out_exited function:function
41 event port_in operation:atom
42 event port_out operation:atom
43 event gc_minor_start sizes:words
44 event gc_minor_end sizes:words
45 event gc_major_start sizes:words
46 event gc_major_end sizes:words
47 event gc_max_heap_size sizes:words
48 event spawn child:term function:function
49 event spawned parent:term function:function
50 event exit reason:term
51 event register name:atom
52 event unregister name:atom
53 event link to:term
54 event unlink to:term
55 event getting_linked to:term
56 event getting_unlinked to:term
57 event send to:term
58 event send_to_non_existing_process to:term
59 event receive
60 event timeout
61 event open caller:term driver:atom
62 event closed reason:term
63 event seq_trace label:term kind:atom previous:uint current:uint from:term to:term
64 event unknown tag:atom term:term
96 info process_info pid:uint parent:term name:atom label:term initial_call:function
97 info note what:atom detail:term
"""


class Damage(Exception):
    """Bytes that are not what the document says."""


class Cut(Damage):
    """The bytes end inside a value."""


def table(text):
    rows = {}
    for line in text.splitlines():
        words = line.split()
        fields = [word.rpartition(":") for word in words[3:]]
        known = all(kind in READ for _, _, kind in fields)
        if len(words) >= 3 and words[0].isdigit() and words[1] in CLASSES and known:
            rows[int(words[0])] = (words[1], words[2], [(name, kind) for name, _, kind in fields])
    return rows


class Bytes:
    """Values off the front of some bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return self.at < len(self.data)

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Cut(f"cut at {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if value > MASK or shift > 63:
                raise Damage(f"a number of more than 64 bits before {self.at}")
            if byte < 0x80:
                return value
            shift += 7

    def text(self):
        try:
            return self.take(self.varint()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Damage(f"no UTF-8 before {self.at}") from error

    def words(self):
        return [self.varint() for _ in range(self.varint())]

    def term(self, depth=0):
        """Steps over a term; text of a reference, None for all else."""
        tag, text = self.take(1)[0], None
        if depth > 64 or tag > 15:
            raise Damage(f"bad term before {self.at}")
        if tag in (1, 2, 4, 5):
            self.varint()
        elif tag == 3:
            self.take(8)
        elif tag == 6:
            text = reference(self.words())
        elif tag in (8, 9, 10, 12):
            more = 1 if tag == 10 else 0
            each = 2 if tag == 12 else 1
            for _ in range(each * self.varint() + more):
                self.term(depth + 1)
        elif tag == 11:
            self.varint()
            self.take(self.varint())
        elif tag == 13:
            printed = self.text()
            text = printed if printed.startswith("#Ref<") else None
        elif tag == 15:
            self.varint()
            self.varint()
        return text


def reference(numbers):
    return f"#Ref<0.{'.'.join(map(str, numbers))}>"


READ = {
    "uint": Bytes.varint,
    "atom": Bytes.varint,
    "function": Bytes.varint,
    "text": Bytes.text,
    "term": Bytes.term,
    "words": Bytes.words,
}


class Payload:
    """The records of a chunk, with its names."""

    def __init__(self, data, base_tick, rows):
        self.bytes, self.tick, self.rows = Bytes(data), base_tick, rows
        self.atoms, self.functions, self.references, self.records = [], [], [], []
        self.whose = None

    def name(self, names, reference):
        if reference > len(names):
            raise Damage(f"reference {reference} was never defined")
        return names[reference - 1] if reference else None

    def define_reference(self, differences):
        """Differences to the one before, places counted from the end."""
        if not 1 <= len(differences) <= 5:
            raise Damage("a reference of no numbers, or of too many")
        before = self.references[-1] if self.references else []
        before = ([0] * 5 + before)[-len(differences) :]
        signed = [n >> 1 ^ -(n & 1) for n in differences]
        self.references.append([old + more & MASK for old, more in zip(before, signed)])

    def defined(self, number):
        if not 1 <= number <= len(self.references):
            raise Damage(f"reference {number} was never defined")
        return reference(self.references[number - 1])

    def read(self):
        message = alias = None
        while self.bytes.left():
            id = self.bytes.take(1)[0]
            if id not in self.rows:
                raise Damage(f"unknown record {id}")
            kind, name, fields = self.rows[id]
            delta = self.bytes.varint() if kind in TIMED else 0
            values = {field: READ[type](self.bytes) for field, type in fields}
            if id == 1:
                self.atoms.append(values["text"])
            elif id == 2:
                module, function = (self.name(self.atoms, values[key]) for key in ("module", "name"))
                self.functions.append((module, function, values["arity"]))
            elif id == 3:
                self.define_reference(values["numbers"])
            elif id == 20:
                message = (values["shape"], values["reference"])
            elif id == 21:
                message = (values["shape"], self.defined(values["reference"]))
            elif id == 22:
                alias = self.defined(values["reference"])
                message = (2, alias)
            elif id in (8, 9, 10):
                self.whose = (name, *values.values())
            elif kind in TIMED:
                self.tick += delta
                if self.tick > MASK:
                    raise Damage("ticks beyond 64 bits")
                to = values.get("to") or alias
                self.records.append((kind, name, self.resolve(fields, values), self.whose, self.tick, message, to))
                message = alias = None

    def resolve(self, fields, values):
        function = None
        for field, type in fields:
            if type == "atom":
                self.name(self.atoms, values[field])
            elif type == "function":
                function = self.name(self.functions, values[field])
        return function


class Recording:
    def __init__(self, data):
        self.data, self.damage = data, []
        self.header = self.read_header()
        self.keys = meta = self.meta()
        own = table(TABLE)
        self.rows = {**table(meta.get("records", "")), **own}
        self.causes = CAUSES + meta.get("drop_causes", "").split()[len(CAUSES) :]

    def read_header(self):
        try:
            return self.header_at(0)
        except Damage as why:
            header = self.header_at(max(0, len(self.data) - FRONT))
            if header["file_bytes"] != len(self.data):
                raise
            self.damage.append(f"header: {why}")
            return header

    def header_at(self, at):
        data = self.data[at : at + 108]
        if data[:8] != b"SPOOR\r\n\0" or len(data) < 108:
            raise Damage("not a recording")
        endian, major, _minor = struct.unpack_from("<IHH", data, 8)
        if endian != 0x0A0B0C0D or major > 1:
            raise Damage("another byte order or a later version")
        if zlib.crc32(data[:104]) != struct.unpack_from("<I", data, 104)[0]:
            raise Damage("checksum of the header")
        names = ["file_bytes", "clock_offset", "clock_slots", "lane_offset", "lane_slots"]
        values = struct.unpack_from("<11Q", data, 16)
        header = dict(zip(names, values))
        header["info"], header["events"] = values[5:8], values[8:11]
        self.check_layout(header)
        return header

    @staticmethod
    def check_layout(header):
        regions = [
            (0, FRONT),
            (header["clock_offset"], header["clock_slots"] * 48),
            (header["lane_offset"], header["lane_slots"] * 256),
        ]
        for offset, size, count in (header["info"], header["events"]):
            if not 64 < size <= 1 << 26:
                raise Damage("chunks of an impossible size")
            regions.append((offset, size * count))
        if header["lane_slots"] > 1 << 16 or header["clock_slots"] > 1 << 20:
            raise Damage("tables of an impossible size")
        regions.append((header["file_bytes"] - FRONT, FRONT))
        end = 0
        for offset, size in regions:
            if offset < end:
                raise Damage("regions overlap")
            end = offset + size

    def meta(self):
        for front in (0, self.header["file_bytes"] - FRONT):
            section = self.data[front + 4096 : front + FRONT]
            if len(section) < 8:
                continue
            length, crc = struct.unpack_from("<II", section)
            body = section[8 : 8 + length]
            if len(body) == length and zlib.crc32(body) == crc:
                return dict(self.pairs(body))
            self.damage.append("meta section")
        return {}

    @staticmethod
    def pairs(body):
        at = 8

        def text():
            nonlocal at
            (length,) = struct.unpack_from("<Q", body, at)
            at += 8 + length
            return body[at - length : at].decode("utf-8")

        return [(text(), text()) for _ in range(struct.unpack_from("<Q", body)[0])]

    def status(self):
        if len(self.data) < 1092:
            return {"phase": "recording", "reason": ""}
        (phase,) = struct.unpack_from("<I", self.data, 1024)
        (length,) = struct.unpack_from("<I", self.data, 1088)
        reason = self.data[1092 : 1092 + min(length, 1024)].decode("utf-8", "replace")
        return {"phase": PHASES.get(phase, "recording"), "reason": reason}

    def clocks(self):
        """Good clock pairs, in order."""
        pairs = []
        for slot in range(self.header["clock_slots"]):
            at = self.header["clock_offset"] + 48 * slot
            if at + 48 > len(self.data):
                break
            words = struct.unpack_from("<6Q", self.data, at)
            check = 0x53504F4F525F434C
            for word in words[:5]:
                check = (check << 7 | check >> 57) & MASK ^ word
            if words[0] and check == words[5]:
                pairs.append(words)
            elif any(words):
                self.damage.append(f"clock pair in slot {slot}")
        return self.plausible(sorted(pairs))

    def plausible(self, pairs):
        kept = []
        for pair in pairs:
            seq, tick, ns, wall, *_ = pair
            late = max(ns, wall) > 1 << 62 or bool(kept) and ns > kept[0][2] + (1 << 55)
            if late or kept and (tick <= kept[-1][1] or ns < kept[-1][2]):
                self.damage.append(f"clock pair {seq}")
            else:
                kept.append(pair)
        return kept

    def ns(self, tick, pairs):
        """Monotonic nanoseconds of a tick since the first pair (section 4)."""
        _, first, start, *_ = pairs[0] if pairs else (0, 0, 0)
        _, last, end, *_ = pairs[-1] if pairs else (0, 0, 0)
        rate = (end - start) / (last - first) if last > first else 1e9 / int(self.keys.get("tick_hz", 10**9))
        for pair, after in zip(pairs, pairs[1:]):
            if pair[1] <= tick < after[1]:
                part = (tick - pair[1]) / (after[1] - pair[1])
                return pair[2] - start + part * (after[2] - pair[2])
        return end - start + (tick - last) * rate if tick >= last else (tick - first) * rate

    def identity(self, whose):
        """Section 9."""
        if not whose or whose[0] == "nobody":
            return "-"
        what, word = whose
        needed = ("otp_release", "process_limit", "port_limit")
        told = [int(self.keys[key]) for key in needed if self.keys.get(key, "").isdigit()]
        release, processes, ports = told if len(told) == 3 else (27, 1 << 20, 1 << 16)
        limit = processes if what == "process" else ports
        if release <= 25:
            data = word % (1 << 28)
            number, serial = data % (1 << 15), data >> 15
        else:
            bits = limit.bit_length() - 1
            index = word % (1 << bits)
            data = word - index + index // 8 + (index % 8 << bits - 3)
            number, serial = data % (1 << 28), data >> 28
        return f"<0.{number}.{serial}>" if what == "process" else f"#Port<0.{data}>"

    def lanes(self):
        lanes = {}
        for number in range(self.header["lane_slots"]):
            at = self.header["lane_offset"] + 256 * number
            entry = self.data[at : at + 256]
            if len(entry) < 256 or not any(entry[:32]):
                continue
            (check,) = struct.unpack_from("<I", entry, 24)
            if entry[:4] != b"LANE" or check != zlib.crc32(entry[:24]):
                self.damage.append(f"lane {number}")
                continue
            (kind,) = struct.unpack_from("<I", entry, 4)
            (sealed,) = struct.unpack_from("<Q", entry, 64)
            (outside,) = struct.unpack_from("<Q", entry, 96)
            lanes[number] = {
                "kind": KINDS.get(kind, "other"),
                "sealed": sealed,
                "outside": outside,
                "dropped": struct.unpack_from("<16Q", entry, 128),
            }
        return lanes

    def chunk(self, ring, place):
        """Header and records of the chunk at a place; None when not in use."""
        offset, size, _ = self.header[ring]
        at = offset + place * size
        head = self.data[at : at + CHUNK_HEADER]
        if len(head) < CHUNK_HEADER:
            raise Damage("the file ends in its header")
        magic, lane, seq, length, count, base, first, sealed, crc, check = struct.unpack_from("<4sIQIIQQIII", head)
        if seq == 0:
            return None
        if magic != b"SpCh" or check != zlib.crc32(head[:16] + head[24:40]):
            raise Damage("its header")
        if lane >= self.header["lane_slots"] or length > size - CHUNK_HEADER:
            raise Damage("its header")
        header = {"lane": lane, "seq": seq, "records": count, "first": first}
        payload = self.data[at + CHUNK_HEADER : at + CHUNK_HEADER + length]
        header["found"] = self.records(payload, header, length, base, crc if sealed == length and (sealed or crc) else None)
        return header

    def records(self, data, header, length, base, crc):
        cut = len(data) < length
        payload = Payload(data, base, self.rows)
        try:
            if crc is not None and not cut and zlib.crc32(data) != crc:
                raise Damage("its checksum")
            payload.read()
            if not cut and len(payload.records) != header["records"]:
                raise Damage("the number of its records")
        except Cut as why:
            header["damage"] = None if cut else str(why)
        except Damage as why:
            header["damage"] = str(why)
        if cut:
            self.damage.append("cut")
        return [] if header.get("damage") else payload.records

    def ring(self, ring):
        chunks, unreadable, unused = [], 0, 0
        for place in range(self.header[ring][2]):
            try:
                chunk = self.chunk(ring, place)
            except Damage as why:
                unreadable += 1
                self.damage.append(f"{ring} chunk {place}: {why}")
                continue
            if chunk and chunk.get("damage"):
                self.damage.append(f"{ring} chunk {place}: {chunk['damage']}")
            if chunk:
                chunks.append(chunk)
            else:
                unused += 1
        chunks.sort(key=lambda chunk: chunk["seq"])
        return chunks, unreadable + unused

    def ledger(self, chunks, unreadable, lanes):
        """Section 10, summed over the lanes."""
        unreadable += any(len(chunk["found"]) != chunk["records"] for chunk in chunks)
        turned = any(chunk["seq"] > self.header["events"][2] for chunk in chunks)
        sums = Counter(stored=0, present=0, overwritten=0, damaged=0, outside_window=0, dropped=0)
        causes = Counter()
        for lane in set(lanes) | {chunk["lane"] for chunk in chunks}:
            entry = lanes.get(lane, {"sealed": 0, "outside": 0, "dropped": ()})
            own = [chunk for chunk in chunks if chunk["lane"] == lane]
            stored = max([entry["sealed"]] + [chunk["first"] + chunk["records"] for chunk in own])
            present = sum(len(chunk["found"]) for chunk in own)
            outside = min(entry["outside"], stored - present)
            missing = stored - present - outside
            before = max(0, (own[0]["first"] if own else stored) - outside)
            overwritten = missing if turned and not unreadable else min(before, missing) if turned else 0
            sums.update(stored=stored, present=present, overwritten=overwritten, damaged=missing - overwritten)
            sums.update(outside_window=outside)
            sums.update(dropped=sum(entry["dropped"]))
            for place, count in enumerate(entry["dropped"]):
                if count:
                    name = self.causes[place] if place < len(self.causes) else f"cause_{place}"
                    causes[name] += count
        return {**sums, "dropped_by_cause": dict(sorted(causes.items()))}

    def report(self):
        lanes = self.lanes()
        chunks, unreadable = self.ring("events")
        ledger = self.ledger(chunks, unreadable, lanes)
        infos = Counter(name for chunk in self.ring("info")[0] for _, name, *_ in chunk["found"])
        kinds, calls, whose, messages, aliases = (Counter() for _ in range(5))
        last = None
        for chunk in chunks:
            for _, name, function, identity, tick, message, to in chunk["found"]:
                kinds[name] += 1
                messages.update([f"{message[0]} {message[1]}"] if message and message[1] else [])
                aliases.update([to] if to else [])
                whose[self.identity(identity)] += 1
                last = max(last or 0, tick)
                if name == "call" and function:
                    module, name, arity = function
                    calls[f"{module}:{name}/{arity}"] += 1
        clocks = self.clocks()
        if len(self.data) != self.header["file_bytes"]:
            self.damage.append(f"the file has {len(self.data)} bytes")
        return {
            "status": self.status(),
            "clock_pairs": len(clocks),
            "last_event_ns": None if last is None else round(self.ns(last, clocks)),
            "lanes": {str(number): lane["kind"] for number, lane in lanes.items()},
            "kinds": dict(sorted(kinds.items())),
            "infos": dict(sorted(infos.items())),
            "calls": dict(sorted(calls.items())),
            "whose": dict(sorted(whose.items())),
            "messages": dict(sorted(messages.items())),
            "aliases": dict(sorted(aliases.items())),
            "ledger": ledger,
            "damage": self.damage,
        }


def main():
    with open(sys.argv[1], "rb") as file:
        recording = Recording(file.read())
    json.dump(recording.report(), sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 1 if recording.damage else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: second_reader.py FILE")
    try:
        sys.exit(main())
    except (OSError, Damage) as error:
        print(f"second_reader: {error}", file=sys.stderr)
        sys.exit(2)
