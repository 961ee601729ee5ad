package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	crowd    = 200 // containers
	inFlight = 50  // calls at once
	sample   = 20  // every how many-th container pings
)

func TestParallel(t *testing.T) {
	n := newNetwork(t, []byte(`{
		"cniVersion": "1.1.0",
		"name": "crowd",
		"plugins": [{
			"type": "bridge",
			"bridge": "crowd0",
			"isDefaultGateway": true,
			"ipMasq": true,
			"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.64.0.0/24"}], [{"subnet": "fd64::/64"}]]}
		}]
	}`))
	removeLink(t, "crowd0")
	all := containers(t, crowd)

	found := make([][]string, len(all))
	eachAtOnce(t, all, func(ctx context.Context, i int, rt *libcni.RuntimeConf) (err error) {
		found[i], err = n.add(ctx, rt)
		return err
	})
	wantUnique(t, found)
	for i := 0; i < len(all); i += sample {
		ping(t, all[i].NetNS, "10.64.0.1")
		ping(t, all[i].NetNS, "fd64::1")
	}

	eachAtOnce(t, all, func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error { return n.check(ctx, rt) })
	eachAtOnce(t, all, func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error { return n.del(ctx, rt) })
	wantNothing(t, "crowd")
}

// containers makes namespaces, and names for what would live in them.
func containers(t *testing.T, count int) []*libcni.RuntimeConf {
	t.Helper()
	var all []*libcni.RuntimeConf
	for i := range count {
		id := fmt.Sprintf("c%03d", i)
		all = append(all, attachment(id, testnet.NewNS(t, id).Path))
	}
	return all
}

// eachAtOnce runs f for all containers, inFlight at a time.
func eachAtOnce(t *testing.T, all []*libcni.RuntimeConf, f func(context.Context, int, *libcni.RuntimeConf) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	var group sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i, rt := range all {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i, rt); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// wantUnique expects two addresses for each container, and none twice.
func wantUnique(t *testing.T, found [][]string) {
	t.Helper()
	holder := map[string]int{}
	for i, list := range found {
		if len(list) != 2 {
			t.Errorf("container %d: got addresses %v, want two", i, list)
		}
		for _, address := range list {
			if other, taken := holder[address]; taken {
				t.Errorf("containers %d and %d both have %s", other, i, address)
			}
			holder[address] = i
		}
	}
}
