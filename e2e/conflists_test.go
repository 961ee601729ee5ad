package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// promise is what the table of conflist-examples says that containers get.
type promise struct {
	// Addresses of one container.
	Addresses int
	// Neighbour, Host and Outside tell who answers it.
	Neighbour, Host, Outside bool
	// Published tells whether a published port answers the outside.
	Published bool
}

func TestConflistExamples(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "conflist-examples")
	table, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.conflist"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	all := promises()
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(table), "| ["+name+"]("+name+") |") {
				t.Fatalf("%s is not in the README", name)
			}
			switch name {
			case "host.conflist":
				runHostExample(t, path)
				return
			case "macvlan.conflist", "macvlan-host-access.conflist":
				runMacvlanExample(t, path)
				return
			case "overlay-vxlan.conflist":
				runOverlayExample(t, path)
				return
			case "overlay-encrypted.conflist":
				runEncryptedExample(t, path)
				return
			}
			want, ok := all[name]
			if !ok {
				t.Fatalf("%s is not in this test", name)
			}
			runExample(t, path, want)
		})
	}
}

func promises() map[string]promise {
	full := promise{Addresses: 1, Neighbour: true, Host: true, Outside: true}
	published := promise{Addresses: 1, Neighbour: true, Host: true, Outside: true, Published: true}
	return map[string]promise{
		"bridge.conflist":            full,
		"bridge-dual-stack.conflist": {Addresses: 2, Neighbour: true, Host: true, Outside: true},
		"bridge-ports.conflist":      published,
		"bridge-internal.conflist":   {Addresses: 1, Neighbour: true, Host: true},
		"bridge-isolated.conflist":   full,
		"bridge-no-icc.conflist":     {Addresses: 1, Host: true, Outside: true},
		"bridge-l2.conflist":         {},
		"none.conflist":              {Addresses: 2},
		"loopback.conflist":          {Addresses: 2},
		"nerdctl.conflist":           published,
	}
}

// runExample attaches two containers, looks whether the promise is kept, checks them and detaches them.
func runExample(t *testing.T, path string, want promise) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, conf)
	removeBridge(t, n)
	o := newOutside(t)
	o.mirror(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()

	a, b := n.attach(ctx, t, "a", 8080), n.attach(ctx, t, "b", 8081)
	if diff := cmp.Diff(want, o.promiseOf(t, a, b)); diff != "" {
		t.Errorf("what a container gets (-want +got):\n%s", diff)
	}
	for _, c := range []example{a, b} {
		rt := c.attachment
		if err := errors.Join(n.check(ctx, rt), n.del(ctx, rt), n.del(ctx, rt)); err != nil {
			t.Error(err)
		}
		wantLinks(t, c.ns, "lo")
	}
	wantNothing(t, n.list.Name)
}
