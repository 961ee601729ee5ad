package kernel_test

import (
	"sync/atomic"
	"testing"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestTablesOf: tables are found by family and name, also while others change the rules all the time.
func TestTablesOf(t *testing.T) {
	testnet.NewHost(t)
	k := open(t, "")
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	there := nftables.Table{Family: nftables.TableFamilyIPv4, Name: "there"}
	conn.AddTable(&there)
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for !done.Load() {
			other := &nftables.Table{Family: nftables.TableFamilyINet, Name: "other"}
			conn.AddTable(other)
			conn.DelTable(other)
			_ = conn.Flush() // what counts is that something changes
		}
	}()
	for range 300 {
		found, err := k.TablesOf([]nftables.Table{{Family: nftables.TableFamilyIPv6, Name: "there"}, there, {Family: nftables.TableFamilyBridge, Name: "nat"}})
		if err != nil || len(found) != 1 || found[0] != there {
			t.Errorf("found %v, %v", found, err)
			break
		}
	}
	done.Store(true)
	<-changed
}
