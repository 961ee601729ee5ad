package fastpath

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// programName is what `bpftool prog` and `tc filter` show.
const programName = "fairway_fast"

// mostMembers is how many links packets are carried between.
const mostMembers = 1 << 16

// path is the loaded program with its maps.
type path struct {
	maps
	program *ebpf.Program
}

// load loads the program. Nothing passes by it before a lease is given.
func load() (*path, error) {
	p := &path{}
	if err := p.load(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *path) load() (err error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("memory for BPF: %w", err)
	}
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&p.lease, ebpf.MapSpec{Name: "fairway_lease", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
		{&p.members, ebpf.MapSpec{Name: "fairway_members", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: mostMembers, Flags: unix.BPF_F_NO_PREALLOC}},
		{&p.tunnels, ebpf.MapSpec{Name: "fairway_tunnels", Type: ebpf.Hash, KeySize: 4, ValueSize: 1, MaxEntries: mostMembers, Flags: unix.BPF_F_NO_PREALLOC}},
		{&p.carried, ebpf.MapSpec{Name: "fairway_carried", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("map %s: %w", m.spec.Name, err)
		}
	}
	p.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: programName, Type: ebpf.SchedCLS, Instructions: p.instructions(), License: "GPL"})
	if err != nil {
		return fmt.Errorf("program %s: %w", programName, err)
	}
	return nil
}

func (p *path) close() {
	for _, m := range []*ebpf.Map{p.lease, p.members, p.tunnels, p.carried} {
		if m != nil {
			_ = m.Close() // what is attached goes on with it
		}
	}
	if p.program != nil {
		_ = p.program.Close()
	}
}

// carry lets packets pass by the program for a time, 0 for none from now on.
func (p *path) carry(lease time.Duration) error {
	until := uint64(0)
	if lease > 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("monotonic clock: %w", err)
		}
		until = uint64(now.Nano() + lease.Nanoseconds())
	}
	return p.lease.Put(uint32(0), until)
}

// count is how many packets were carried.
func (p *path) count() (sum uint64, err error) {
	var each []uint64
	err = p.carried.Lookup(uint32(0), &each)
	for _, n := range each {
		sum += n
	}
	return sum, err
}

// agree makes a map have what is wanted and nothing else.
func agree[V comparable](m *ebpf.Map, wanted map[uint32]V) error {
	var key uint32
	var value V
	var errs []error
	present := map[uint32]V{}
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		present[key] = value
	}
	errs = append(errs, entries.Err())
	for key := range present {
		if _, keep := wanted[key]; !keep {
			errs = append(errs, m.Delete(key))
		}
	}
	for key, value := range wanted {
		if old, is := present[key]; !is || old != value {
			errs = append(errs, m.Put(key, value))
		}
	}
	return errors.Join(errs...)
}
