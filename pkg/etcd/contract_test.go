package etcd_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// What package registry relies on holds of etcd and of the simulated one alike.
func TestStores(t *testing.T) {
	real, err := testnet.StartEtcd(testnet.EtcdMember{Name: "a", Address: "127.0.0.1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = real.Close() })
	client, err := etcd.Open(etcd.Config{Endpoints: real.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for name, store := range map[string]etcd.Store{"etcd": client, "simulated": etcdsim.New().Client(1)} {
		t.Run(name, func(t *testing.T) {
			t.Run("transactions", func(t *testing.T) { transactions(t, store) })
			t.Run("ranges", func(t *testing.T) { ranges(t, store) })
			t.Run("watch", func(t *testing.T) { watch(t, store) })
			t.Run("leases", func(t *testing.T) { leases(t, store) })
		})
	}
}

// Behind etcd's grpc-proxy, which many hosts may share, the same holds.
func TestRelay(t *testing.T) {
	real, err := testnet.StartEtcd(testnet.EtcdMember{Name: "a", Address: "127.0.0.1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = real.Close() })
	const listen = "127.0.0.1:23790"
	proxy, err := testnet.Start(exec.Command("etcd", "grpc-proxy", "start", "--endpoints="+real.Endpoints()[0], "--listen-addr="+listen,
		"--data-dir="+t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Stop(unix.SIGKILL) })
	client, err := etcd.Open(etcd.Config{Endpoints: []string{"http://" + listen}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := client.Range(t.Context(), etcd.Range{Key: "x"}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err, proxy.Log())
		}
	}
	t.Run("transactions", func(t *testing.T) { transactions(t, client) })
	t.Run("ranges", func(t *testing.T) { ranges(t, client) })
	t.Run("watch", func(t *testing.T) { watch(t, client) })
	t.Run("leases", func(t *testing.T) { leases(t, client) })
}

func txn(t *testing.T, s etcd.Store, x etcd.Txn) etcd.Result {
	t.Helper()
	r, err := s.Txn(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func transactions(t *testing.T, s etcd.Store) {
	first := txn(t, s, etcd.Txn{If: []etcd.Condition{etcd.Absent("t/a")}, Then: []etcd.Op{etcd.Set("t/a", "1"), etcd.Set("t/b", "2")}})
	if !first.Done {
		t.Fatal("the key was absent")
	}
	at := first.Revision
	for _, test := range []struct {
		name string
		c    etcd.Condition
		want bool
	}{
		{"absent", etcd.Absent("t/a"), false},
		{"created", etcd.CreatedAt("t/a", at), true},
		{"created before", etcd.CreatedAt("t/a", at-1), false},
		{"modified", etcd.ModifiedAt("t/b", at), true},
		{"no key is modified at 0", etcd.ModifiedAt("t/none", 0), true},
		{"value", etcd.Is("t/a", "1"), true},
		{"another value", etcd.Is("t/a", "2"), false},
		{"no key has a value", etcd.Is("t/none", ""), false},
		{"unchanged", etcd.UnchangedSince("t/", at), true},
		{"changed", etcd.UnchangedSince("t/", at-1), false},
		{"an empty range is unchanged", etcd.UnchangedSince("none/", 0), true},
		{"none", etcd.NoneIn("none/"), true},
		{"some", etcd.NoneIn("t/"), false},
	} {
		if got := txn(t, s, etcd.Txn{If: []etcd.Condition{test.c}}).Done; got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	r := txn(t, s, etcd.Txn{If: []etcd.Condition{etcd.Absent("t/a")}, Otherwise: []etcd.Op{etcd.Read("t/a"), etcd.Set("t/c", ""), {Key: "t/", End: etcd.PrefixEnd("t/"), KeysOnly: true}}})
	if r.Done || len(r.Pages) != 3 || r.Pages[0].KVs[0].Value != "1" || len(r.Pages[2].KVs) != 3 || r.Pages[2].KVs[0].Value != "" {
		t.Errorf("otherwise: %+v", r)
	}
	txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.RemoveAll("t/")}})
	if !txn(t, s, etcd.Txn{If: []etcd.Condition{etcd.NoneIn("t/")}}).Done {
		t.Error("keys are left")
	}
}

func ranges(t *testing.T, s etcd.Store) {
	var at int64
	for _, key := range []string{"r/c", "r/a", "r/b"} {
		at = txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.Set(key, key)}}).Revision
	}
	txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.Set("r/a", "later"), etcd.Remove("r/b")}})
	r := etcd.Prefix("r/")
	r.Limit, r.Revision = 2, at
	page, err := s.Range(t.Context(), r)
	if err != nil || !page.More || len(page.KVs) != 2 || page.KVs[0].Value != "r/a" || page.KVs[1].Key != "r/b" || page.Revision <= at {
		t.Errorf("as it was: %+v, %v", page, err)
	}
	if page, err := s.Range(t.Context(), etcd.Range{Key: "r/b", Revision: at}); err != nil || len(page.KVs) != 1 || page.KVs[0].Modified != at {
		t.Errorf("one key as it was: %+v, %v", page, err)
	}
	if _, err := s.Range(t.Context(), etcd.Range{Key: "r/a", Revision: page.Revision + 1000}); !errors.Is(err, etcd.ErrFuture) {
		t.Errorf("a revision to come: %v", err)
	}
}

// next is the next event of a watch with changes.
func next(t *testing.T, events <-chan etcd.Event) etcd.Event {
	t.Helper()
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatal("the watch has ended")
			}
			if e.Err != nil || len(e.Changes) > 0 {
				return e
			}
		case <-time.After(time.Minute):
			t.Fatal("no event in time")
		}
	}
}

func watch(t *testing.T, s etcd.Store) {
	from := txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.Set("w/a", "1"), etcd.Set("x/a", "1")}}).Revision
	ctx, stop := context.WithCancel(t.Context())
	r := etcd.Prefix("w/")
	r.Revision = from
	events := s.Watch(ctx, r)
	if e := next(t, events); len(e.Changes) != 1 || e.Changes[0].Key != "w/a" || e.Changes[0].Modified != from || e.Cluster == 0 {
		t.Errorf("what was there already: %+v", e)
	}
	txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.Remove("w/a"), etcd.Set("w/b", "2")}})
	var all []etcd.Change
	for len(all) < 2 {
		all = append(all, next(t, events).Changes...)
	}
	slices.SortFunc(all, func(a, b etcd.Change) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	if !all[0].Deleted || all[0].Key != "w/a" || all[1].Deleted || all[1].Value != "2" || all[0].Modified != all[1].Modified {
		t.Errorf("changes %+v", all)
	}
	stop()
	for range events { // it ends with the context
	}
}

func leases(t *testing.T, s etcd.Store) {
	lease, err := s.Grant(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.SetWith("l/a", "", lease)}})
	if err := s.Renew(t.Context(), lease); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); !txn(t, s, etcd.Txn{If: []etcd.Condition{etcd.Absent("l/a")}}).Done; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the key outlives its lease")
		}
	}
	if err := s.Renew(t.Context(), lease); !errors.Is(err, etcd.ErrLeaseLost) {
		t.Errorf("renewal of a lease that is over: %v", err)
	}
	if lease, err = s.Grant(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	txn(t, s, etcd.Txn{Then: []etcd.Op{etcd.SetWith("l/b", "", lease)}})
	if err := s.Revoke(t.Context(), lease); err != nil || !txn(t, s, etcd.Txn{If: []etcd.Condition{etcd.Absent("l/b")}}).Done {
		t.Errorf("after revocation: %v", err)
	}
	if alarmed, err := s.Alarmed(t.Context()); err != nil || alarmed {
		t.Errorf("alarmed %v, %v", alarmed, err)
	}
}
