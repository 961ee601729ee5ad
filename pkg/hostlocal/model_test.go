package hostlocal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	modelTime = flag.Duration("model", 10*time.Second, "how long to run random programs against the model")
	modelSeed = flag.Uint64("model-seed", 0, "run one random program, that of a failure")
)

// TestModel runs random programs against the model: who holds an address and lives is found in its file, nobody else is given
// it, and whoever was removed holds none.
func TestModel(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer slog.SetDefault(before)
	if *modelSeed != 0 {
		runProgram(t, *modelSeed)
		return
	}
	programs, steps := 0, 0
	for end := time.Now().Add(*modelTime); time.Now().Before(end) && !t.Failed(); programs++ {
		steps += runProgram(t, rand.Uint64())
	}
	t.Logf("%d programs of %d steps in all", programs, steps)
}

const (
	programSteps = 60
	modelRanges  = `"ranges": [[{"subnet": "10.1.0.0/28"}], [{"subnet": "fd00::/124"}]]`
)

func runProgram(t *testing.T, seed uint64) int {
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w := newWorld(t, testConfig(t, dir, modelRanges))
	w.random = rand.New(rand.NewPCG(seed, 0))
	for range programSteps {
		w.step()
		if w.verify(); w.wrong != "" {
			break
		}
	}
	if w.wrong == "" {
		w.drain()
		w.refill()
	}
	if w.wrong != "" {
		t.Errorf("%s\nseed %d, after:", w.wrong, seed)
		for _, done := range w.done {
			t.Log(done)
		}
	}
	return len(w.done)
}

// A world is the model, and the directory that is compared with it.
type world struct {
	t      *testing.T
	c      Config
	random *rand.Rand

	here, there machine
	// live is who was given an address, and by which machine, and lives.
	live map[netip.Addr]holding
	hand map[netip.Addr]string // files made by hand, and their content
	mark map[Owner]string      // of the namespace that an owner lives in
	dead map[string]bool       // marks of namespaces that have ended
	marks,
	boots int
	done  []string
	wrong string
}

type holding struct {
	owner Owner
	there bool
}

func newWorld(t *testing.T, c Config) *world {
	w := &world{t: t, c: c, live: map[netip.Addr]holding{}, hand: map[netip.Addr]string{}, mark: map[Owner]string{}, dead: map[string]bool{}}
	w.here, w.there = testMachine(), testMachine()
	w.there.boot = boot{machine: "machine-2", id: "boot-2"}
	w.here.gone = func(_ context.Context, h Holder) bool { return w.dead[h.Netns.Mark] }
	w.there.gone = w.here.gone
	return w
}

func (w *world) log(format string, args ...any) {
	w.done = append(w.done, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// step does one thing, by a kernel that may fail.
func (w *world) step() {
	o := owner(w.random.IntN(18))
	f := w.anyFault()
	switch w.random.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		w.add(o, f, false)
	case 6, 7, 8:
		w.del(o, f)
	case 9:
		w.check(o, f)
	case 10:
		w.gc(f)
	case 11:
		w.die(o)
	case 12:
		w.reboot()
	case 13:
		w.foreignAdd(Owner{ContainerID: fmt.Sprintf("foreign%d", w.random.IntN(4)), IfName: "eth0"})
	case 14:
		w.foreignDel()
	case 15:
		w.byHand()
	case 16, 17:
		w.meddle()
	case 18:
		w.setClock()
	case 19:
		w.add(Owner{ContainerID: fmt.Sprintf("there%d", w.random.IntN(2)), IfName: "eth0"}, f, true)
	}
}

func (w *world) anyFault() *faulty {
	f := &faulty{system: linux{}}
	switch w.random.IntN(6) {
	case 0:
		f.full = true
	case 1:
		f.at, f.fault = 1+w.random.IntN(60), errKilled
	case 2:
		f.at, f.short = 1+w.random.IntN(60), true
	case 3:
		errs := []error{unix.EIO, unix.EMFILE, unix.ENOMEM, unix.ENOSPC, unix.ESTALE, unix.EACCES, unix.EROFS}
		f.at, f.fault = 1+w.random.IntN(60), errs[w.random.IntN(len(errs))]
	}
	return f
}

func (w *world) store(f *faulty, there bool) *Store {
	m := w.here
	if there {
		m = w.there
	}
	m.sys = f
	return m.store(w.c)
}

func (w *world) add(o Owner, f *faulty, there bool) {
	held := w.heldBy(o)
	if len(held) == 0 {
		w.marks++
		w.mark[o] = fmt.Sprint("ns", w.marks)
	}
	before := w.snapshot()
	st := w.store(f, there)
	lease, err := st.Add(w.t.Context(), o, Netns{Mark: w.mark[o], Path: "/run/netns/x"})
	w.log("ADD %s %s: %v %v", o, f, addresses(lease), err)
	if f.killed() {
		return // nobody has heard of it
	}
	after := w.snapshot()
	if err != nil {
		for addr, file := range after {
			if file.owner == o && before[addr] != file {
				w.fail("a failed ADD changed %s from %+v to %+v", addr, before[addr], file)
			}
		}
		if errors.Is(err, ErrExhausted) && !f.hit() && !f.full {
			w.wantFull(after, st.boot)
		}
		return
	}
	for _, a := range lease.Addresses {
		addr := a.Prefix.Addr()
		if other, ok := w.live[addr]; ok && other.owner != o {
			w.fail("%s was given to %s, and %s lives", addr, o, other.owner)
		}
		w.live[addr] = holding{o, there}
	}
	for _, addr := range held {
		if !slices.ContainsFunc(lease.Addresses, func(a Address) bool { return a.Prefix.Addr() == addr }) {
			w.fail("%s held %s and was given %v", o, addr, addresses(lease))
		}
	}
}

func (w *world) del(o Owner, f *faulty) {
	err := w.store(f, false).Release(w.t.Context(), o)
	w.log("DEL %s %s: %v", o, f, err)
	maps.DeleteFunc(w.live, func(_ netip.Addr, h holding) bool { return h.owner == o })
	if err == nil && !f.killed() {
		w.wantNone(o)
	}
}

func (w *world) check(o Owner, f *faulty) {
	held := w.heldBy(o)
	err := w.store(f, false).Check(w.t.Context(), o, held)
	w.log("CHECK %s %s: %v", o, f, err)
	switch {
	case f.killed():
	case len(held) > 0 && errors.Is(err, ErrNotReserved), len(held) > 0 && err != nil && !f.hit() && !f.full:
		w.fail("CHECK of %s, who holds %v: %v", o, held, err)
	case err == nil && !slices.ContainsFunc(slices.Collect(maps.Values(w.snapshot())), func(x heldFile) bool { return x.owner == o }):
		w.fail("CHECK of %s, who holds nothing, succeeded", o)
	}
}

// gc keeps those who live.
func (w *world) gc(f *faulty) {
	var valid []Owner
	for _, h := range w.live {
		valid = append(valid, h.owner)
	}
	err := w.store(f, false).GC(w.t.Context(), valid)
	w.log("GC %v %s: %v", valid, f, err)
	if err != nil || f.killed() {
		return
	}
	for addr, file := range w.snapshot() {
		if file.owner.IfName != "" && !slices.Contains(valid, file.owner) {
			w.fail("GC left %s of %s", addr, file.owner)
		}
	}
}

// die ends a namespace, and nobody calls DEL.
func (w *world) die(o Owner) {
	w.log("%s dies", o)
	if mark, ok := w.mark[o]; ok {
		w.dead[mark] = true
	}
	delete(w.mark, o)
	maps.DeleteFunc(w.live, func(_ netip.Addr, h holding) bool { return h.owner == o })
}

func (w *world) reboot() {
	w.log("reboot")
	w.boots++
	w.here.id = fmt.Sprint("boot-1-", w.boots)
	maps.DeleteFunc(w.live, func(_ netip.Addr, h holding) bool { return !h.there })
}

func (w *world) path(name string) string { return filepath.Join(w.c.dir(), name) }

// anyAddress is one of the first range set.
func (w *world) anyAddress() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, 0, byte(2 + w.random.IntN(13))})
}

// foreignAdd reserves as upstream does.
func (w *world) foreignAdd(o Owner) {
	addr := w.anyAddress()
	fd, err := os.OpenFile(w.path(addr.String()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = fd.WriteString(o.content())
	_ = fd.Close()
	w.log("upstream reserves %s for %s", addr, o)
	w.live[addr] = holding{owner: o}
}

func (w *world) foreignDel() {
	for addr, h := range w.live {
		if err := os.Remove(w.path(addr.String())); err == nil {
			w.log("upstream releases %s of %s", addr, h.owner)
			delete(w.live, addr)
		}
		return
	}
}

// byHand takes an address out of use, or brings it back.
func (w *world) byHand() {
	addr := w.anyAddress()
	if _, ok := w.hand[addr]; ok {
		w.log("rm %s", addr)
		_ = os.Remove(w.path(addr.String()))
		delete(w.hand, addr)
		return
	}
	if _, err := os.Lstat(w.path(addr.String())); err == nil || len(w.hand) > 3 {
		return
	}
	content := []string{"", "reserved\n"}[w.random.IntN(2)]
	if os.WriteFile(w.path(addr.String()), []byte(content), 0o600) == nil {
		w.log("echo %q > %s", content, addr)
		w.hand[addr] = content
	}
}

// meddle changes what the index and the lock lie in.
func (w *world) meddle() {
	side := filepath.Join(w.c.DataDir, sideDir, w.c.Network)
	tricks := map[string]func() error{
		"touch and rm x": func() error {
			return errors.Join(os.WriteFile(w.path("x"), nil, 0o600), os.Remove(w.path("x")))
		},
		"rm lock":           func() error { return os.Remove(w.path(lockName)) },
		"rm last_reserved":  func() error { return os.Remove(w.path(lastReserved(0))) },
		"rm -r .fairway":    func() error { return os.RemoveAll(filepath.Join(w.c.DataDir, sideDir)) },
		"rm index":          func() error { return os.Remove(filepath.Join(side, indexName)) },
		"truncate index":    func() error { return os.Truncate(filepath.Join(side, indexName), 100) },
		"rm boot":           func() error { return os.Remove(filepath.Join(side, markName)) },
		"leave a new index": func() error { return os.WriteFile(filepath.Join(side, indexName+newSuffix), []byte("x"), 0o600) },
		"leave a draft":     func() error { return os.WriteFile(w.path(draftName), []byte("x"), 0o600) },
	}
	name := slices.Sorted(maps.Keys(tricks))[w.random.IntN(len(tricks))]
	w.log("%s: %v", name, tricks[name]())
}

// setClock moves all times, as the clock at which the files were made may have been any.
func (w *world) setClock() {
	at := time.Unix(w.random.Int64N(1<<32), 0)
	w.log("the clock is set, and was at %s", at)
	names, _ := os.ReadDir(w.c.dir())
	for _, n := range names {
		_ = os.Chtimes(w.path(n.Name()), at, at)
	}
	_ = os.Chtimes(w.c.dir(), at, at)
}

func (w *world) heldBy(o Owner) []netip.Addr {
	var held []netip.Addr
	for addr, h := range w.live {
		if h.owner == o {
			held = append(held, addr)
		}
	}
	slices.SortFunc(held, netip.Addr.Compare)
	return held
}

type heldFile struct {
	owner  Owner
	record string
}

// snapshot reads the reservations, past the code under test.
func (w *world) snapshot() map[netip.Addr]heldFile {
	all := map[netip.Addr]heldFile{}
	names, _ := os.ReadDir(w.c.dir())
	for _, n := range names {
		addr, ok := parseName(n.Name())
		if !ok {
			continue
		}
		content, err := os.ReadFile(w.path(n.Name()))
		if err != nil {
			w.t.Fatal(err)
		}
		record := make([]byte, recordMax)
		size, _ := unix.Getxattr(w.path(n.Name()), userAttribute, record)
		all[addr] = heldFile{parseOwner(content), string(record[:max(size, 0)])}
	}
	return all
}

// verify compares the files with the model.
func (w *world) verify() {
	files := w.snapshot()
	for addr, h := range w.live {
		if files[addr].owner != h.owner {
			w.fail("%s lost %s, which has %+v", h.owner, addr, files[addr])
		}
	}
	for addr, content := range w.hand {
		if _, ok := files[addr]; !ok || files[addr].owner != parseOwner([]byte(content)) {
			w.fail("%s was made by hand, and has %+v", addr, files[addr])
		}
	}
	for addr, file := range files {
		if file.owner.IfName != "" && file.owner.check() != nil {
			w.fail("%s is half of a reservation: %+v", addr, file)
		}
	}
}

func (w *world) wantNone(o Owner) {
	for addr, file := range w.snapshot() {
		if file.owner == o {
			w.fail("DEL of %s succeeded and left %s", o, addr)
		}
	}
}

// wantFull: no address of a set is free, nor of somebody whom the machine of the ADD knows to be gone.
func (w *world) wantFull(files map[netip.Addr]heldFile, by boot) {
	for _, set := range w.c.Ranges {
		full := true
		for addr := range set.after(netip.Addr{}, w.c.gateways()) {
			file, taken := files[addr]
			r := parseRecord(file.record)
			if !taken || file.owner.IfName != "" && r.boot == by && w.dead[r.netns.Mark] {
				full = false
			}
		}
		if full {
			return
		}
	}
	w.fail("ADD found no free address")
}

// drain removes everybody: nothing is left.
func (w *world) drain() {
	sound := &faulty{system: linux{}}
	for _, file := range w.snapshot() {
		if file.owner.IfName != "" {
			w.del(file.owner, sound)
		}
	}
	if left := w.snapshot(); len(left) != len(w.hand) {
		w.fail("left behind: %v", left)
	}
}

// refill gives all addresses again: none is lost.
func (w *world) refill() {
	sound := &faulty{system: linux{}}
	free := 13 - len(w.hand)
	for i := range free {
		w.add(Owner{ContainerID: fmt.Sprint("new", i), IfName: "eth0"}, sound, false)
	}
	if w.verify(); len(w.live) != 2*free {
		w.fail("%d addresses were given, want %d of each family", len(w.live), free)
	}
}

// TestEveryCall makes each call of each verb fail, or be the last.
func TestEveryCall(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer slog.SetDefault(before)
	situations := map[string]func(*world){
		"fresh":  func(*world) {},
		"steady": func(w *world) { w.populate(3) },
		"after others": func(w *world) {
			w.populate(3)
			w.log("touch x: %v", os.WriteFile(w.path("x"), nil, 0o600))
		},
		"after a start": func(w *world) {
			w.populate(3)
			w.reboot()
			w.foreignAdd(owner(9))
		},
		"full, one is dead": func(w *world) {
			w.populate(6)
			w.die(owner(2))
		},
	}
	verbs := map[string]func(*world, *faulty){
		"ADD":       func(w *world, f *faulty) { w.add(owner(20), f, false) },
		"ADD again": func(w *world, f *faulty) { w.add(owner(1), f, false) },
		"DEL":       func(w *world, f *faulty) { w.del(owner(1), f) },
		"CHECK":     func(w *world, f *faulty) { w.check(owner(1), f) },
		"GC":        func(w *world, f *faulty) { w.gc(f) },
	}
	faults := []faulty{{fault: errKilled}, {fault: unix.EIO}, {short: true}}
	runs := 0
	for situation, prepare := range situations {
		for verb, call := range verbs {
			for _, f := range faults {
				for f.at = 1; ; f.at++ {
					w := newWorld(t, testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/29", "gateway": "10.1.0.1", "rangeEnd": "10.1.0.7"}], [{"subnet": "fd00::/124"}]]`))
					w.random = rand.New(rand.NewPCG(1, 1))
					prepare(w)
					broken := f
					broken.system = linux{}
					call(w, &broken)
					w.verify()
					w.drain()
					runs++
					if w.wrong != "" {
						t.Errorf("%s, %s: %s\n%q", situation, verb, w.wrong, w.done)
					}
					if !broken.hit() || t.Failed() {
						break
					}
				}
			}
		}
	}
	t.Logf("%d runs", runs)
}

func (w *world) populate(n int) {
	for i := range n {
		w.add(owner(i), &faulty{system: linux{}}, false)
	}
}
