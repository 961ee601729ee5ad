package doctor

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestLoThatIsDown: a container without lo finds no names, which is said without waiting for an answer; the command mends it.
func TestLoThatIsDown(t *testing.T) {
	ns := testnet.NewNS(t, "deaf")
	testnet.Sh(t, "nsenter", "--net="+ns.Path, "ip", "link", "set", "lo", "down")
	id, err := kernel.Identify(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	record := names.Record{
		Names: []string{"web"}, Addresses: []netip.Addr{netip.MustParseAddr("10.4.0.2")},
		Netns: names.Netns{Dev: id.Dev, Inode: id.Inode, Cookie: id.Cookie, Path: ns.Path},
	}
	found, bad := followQuery(context.Background(), record)
	if !bad || !strings.HasPrefix(found.Message, "lo of container web is down") {
		t.Fatalf("got %v, %+v", bad, found)
	}
	testnet.Sh(t, "sh", "-c", found.Command)
	if found, bad = followQuery(context.Background(), record); !bad || !strings.Contains(found.Message, "does not find its own name") {
		t.Errorf("after %s: got %v, %+v, want what it is without a resolver", found.Command, bad, found)
	}
}
