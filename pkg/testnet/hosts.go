package testnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// Life says when hosts end that nobody takes down.
type Life int

const (
	// WithProgram ends them with the program that has raised them.
	WithProgram Life = iota
	// UntilDown keeps them: another program can open them again.
	UntilDown
)

// MaxHosts is how many hosts an underlay has addresses for.
const MaxHosts = 200

// ErrNoHosts says that a directory holds no hosts.
var ErrNoHosts = errors.New("no hosts are up")

// HostsConfig is what hosts are raised from.
type HostsConfig struct {
	// Dir is for what the hosts have on disk, and made for it. It has to be on a file system that can be the upper one of
	// an overlay: a tmpfs, or a disk's.
	Dir string
	// Count is 1 to MaxHosts.
	Count int
	// Plugins is the directory that the hosts see as /opt/cni/bin. Empty: theirs is empty.
	Plugins string
	Life    Life
}

// Hosts are several hosts on this machine, each in namespaces of its own, and the underlay that joins them: a bridge in a
// namespace that is the gateway of them all, at 192.0.2.1 and 2001:db8::1 (RFC 5737, RFC 3849).
type Hosts struct {
	// Underlay has a link for each host, named as the host, on its bridge, and a file system for etcd.
	Underlay *Namespace
	// All are the hosts, in the order of their numbers, which begin with 1.
	All []*Host

	config HostsConfig
	under  home
}

// record is what a further program has to know, in Dir.
type record struct {
	Underlay home         `json:"underlay"`
	Plugins  string       `json:"plugins,omitempty"`
	Hosts    []hostRecord `json:"hosts"`
}

const recordFile = "hosts.json"

// RaiseHosts makes an underlay and hosts on it. When it fails, nothing is left.
func RaiseHosts(c HostsConfig) (*Hosts, error) {
	if c.Count < 1 || c.Count > MaxHosts {
		return nil, fmt.Errorf("%d hosts: give 1 to %d", c.Count, MaxHosts)
	}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, err
	}
	h := &Hosts{config: c, Underlay: &Namespace{}}
	if err := h.raise(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Hosts) raise() error {
	if err := h.raiseUnderlay(); err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	for i := 1; i <= h.config.Count; i++ {
		host := newHost(h, i)
		h.All = append(h.All, host)
		if err := host.raise(); err != nil {
			return fmt.Errorf("%s: %w", host.Name, err)
		}
	}
	return nil
}

func (h *Hosts) raiseUnderlay() error {
	held, err := startHolder(h.config.Life)
	if err != nil {
		return err
	}
	h.under = home{held.processID, newUUID()}
	*h.Underlay = h.under.namespaces()
	if err := errors.Join(h.save(), held.keep()); err != nil {
		return err
	}
	if err := h.Underlay.Do(h.furnishUnderlay); err != nil {
		return err
	}
	// Without an address of its own, a bridge takes the lowest of its ports', which change.
	return h.Underlay.batch(`link set lo up
link add sw address 02:00:c0:00:02:01 type bridge
link set sw up
addr add ` + Gateway4 + `/24 dev sw
addr add ` + Gateway6 + `/64 dev sw nodad`)
}

// save writes the record in one step.
func (h *Hosts) save() error {
	r := record{Underlay: h.under, Plugins: h.config.Plugins}
	for _, host := range h.All {
		r.Hosts = append(r.Hosts, host.hostRecord)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(h.config.Dir, recordFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// OpenHosts finds hosts that were raised before. The error is ErrNoHosts where there are none.
func OpenHosts(dir string) (*Hosts, error) {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoHosts
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", dir, recordFile, err)
	}
	h := &Hosts{config: HostsConfig{Dir: dir, Plugins: r.Plugins, Life: UntilDown}, under: r.Underlay, Underlay: &Namespace{}}
	*h.Underlay = r.Underlay.namespaces()
	for i, saved := range r.Hosts {
		host := newHost(h, i+1)
		host.hostRecord = saved
		host.locate()
		h.All = append(h.All, host)
	}
	return h, nil
}

// UnderlayProcesses is how many processes run in the underlay.
func (h *Hosts) UnderlayProcesses() (count int, err error) {
	found, err := h.under.residents()
	return len(found), err
}

// Close ends what runs on the hosts, takes hosts and underlay down, and removes their directory.
func (h *Hosts) Close() error {
	var errs []error
	for _, host := range h.All {
		errs = append(errs, host.Home.endAll())
	}
	errs = append(errs, h.under.endAll())
	if err := errors.Join(errs...); err != nil {
		return err // the directory says what is left
	}
	return os.RemoveAll(h.config.Dir)
}

// NewHosts raises hosts for a test, with which they end. The plugins are those of HostsConfig.
func NewHosts(t testing.TB, count int, plugins string) *Hosts {
	t.Helper()
	// A test's temporary directory may be on an overlay itself; Isolate has put a tmpfs here.
	parent, err := os.MkdirTemp("/run", "hosts-")
	if err != nil {
		t.Fatal(err)
	}
	h, err := RaiseHosts(HostsConfig{Dir: filepath.Join(parent, "up"), Count: count, Plugins: plugins})
	if err != nil {
		t.Fatal(errors.Join(err, os.Remove(parent)))
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), os.Remove(parent)); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Gateway4 and Gateway6 are the addresses of the underlay.
const Gateway4, Gateway6 = "192.0.2.1", "2001:db8::1"

// hostAddresses are those of the host with a number.
func hostAddresses(number int) (v4, v6 netip.Addr) {
	last := 10 + number
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(last)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", last))
}
