package naming_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/resolver"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/naming"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// The host of these tests is the namespace that their process is in, as it is the resolver's.
func TestMain(m *testing.M) { testnet.Run(m) }

// attach makes a container with eth0, and declares its names.
func attach(t *testing.T, id string) (*kernel.Kernel, naming.Record) {
	t.Helper()
	c := testnet.NewNS(t, id)
	c.Sh(t, "ip", "link", "set", "lo", "up")
	c.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	k, err := kernel.Open(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k, naming.Record{
		Owner: state.Owner{Network: "lamp", ContainerID: id, IfName: "eth0"}, Names: []string{id}, Aliases: []string{"db"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2")}, Answered: new(bool),
	}
}

// resolve runs a resolver of this host until the test ends.
func resolve(t *testing.T) {
	t.Helper()
	cookie, err := kernel.HostCookie()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	r := resolver.New(resolver.Config{Directory: names.OnHost(cookie), ResolvConf: filepath.Join(t.TempDir(), "none")})
	go func() { ended <- r.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestRecord(t *testing.T) {
	resolve(t)
	k, r := attach(t, "c1")
	if err := r.Verify(k); !errors.Is(err, state.ErrDrift) || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without a record: %v", err)
	}
	for _, want := range []bool{true, false} {
		created, err := r.Ensure(k)
		if err != nil || created != want || !*r.Answered {
			t.Errorf("Ensure: created %t, answered %t, %v; want %t", created, *r.Answered, err, want)
		}
	}
	if out := inside(t, k, "nft", "list", "ruleset"); !strings.Contains(out, "127.0.0.11") {
		t.Errorf("no redirect when Ensure returns:\n%s", out)
	}
	if err := r.Verify(k); err != nil {
		t.Errorf("Verify: %v", err)
	}
	for name, change := range map[string]func(*naming.Record){
		"names":     func(r *naming.Record) { r.Names = []string{"other"} },
		"aliases":   func(r *naming.Record) { r.Aliases = nil },
		"addresses": func(r *naming.Record) { r.Addresses = append(r.Addresses, netip.MustParseAddr("fd01::2")) },
		"host":      func(r *naming.Record) { r.Host = r.Addresses },
		"internal":  func(r *naming.Record) { r.Internal = true },
		"servers":   func(r *naming.Record) { r.Servers = r.Addresses },
	} {
		other := r
		change(&other)
		if err := other.Verify(k); !errors.Is(err, state.ErrDrift) {
			t.Errorf("other %s: %v, want drift", name, err)
		}
	}
	for range 2 {
		if err := (naming.Record{Owner: r.Owner}).Remove(k); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	for end := time.Now().Add(30 * time.Second); inside(t, k, "nft", "list", "ruleset") != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the redirect is left in the container")
		}
	}
}

func inside(t *testing.T, k *kernel.Kernel, name string, args ...string) string {
	t.Helper()
	return testnet.Sh(t, "nsenter", append([]string{"--net=" + k.Container.Path(), "--", name}, args...)...)
}

// A container without a resolver is of use all the same.
func TestWithoutProgram(t *testing.T) {
	k, r := attach(t, "c1")
	t.Setenv("PATH", t.TempDir())
	if created, err := r.Ensure(k); err != nil || !created || *r.Answered {
		t.Errorf("Ensure: created %t, answered %t, %v", created, *r.Answered, err)
	}
	if err := r.Verify(k); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := r.Remove(k); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

// One that is not what it should be is no reason to wait for ever, and its end none to fail.
func TestProgramThatEnds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fairwayd"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	k, r := attach(t, "c1")
	begun := time.Now()
	if created, err := r.Ensure(k); err != nil || !created || *r.Answered {
		t.Errorf("Ensure: created %t, answered %t, %v", created, *r.Answered, err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if out := inside(t, k, "nft", "list", "ruleset"); out != "" {
		t.Errorf("a redirect to nobody is left in the container:\n%s", out)
	}
	if err := r.Remove(k); err != nil {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	resolve(t)
	k, r := attach(t, "c1")
	other := r
	other.Owner.ContainerID = "c2"
	foreign := r
	foreign.Owner.Network = "other"
	for _, one := range []naming.Record{r, other, foreign} {
		if _, err := one.Ensure(k); err != nil {
			t.Fatal(err)
		}
	}
	held, err := sweep.Holdings(k)
	if err != nil || len(held) != 3 {
		t.Errorf("holdings %v, %v; want 3", held, err)
	}
	if err := sweep.Prune(k, "lamp", []state.Owner{r.Owner}); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		record naming.Record
		left   bool
	}{{r, true}, {other, false}, {foreign, true}} {
		if err := tt.record.Verify(k); (err == nil) != tt.left {
			t.Errorf("%v: %v", tt.record.Owner, err)
		}
		if err := tt.record.Remove(k); err != nil {
			t.Error(err)
		}
	}
}
