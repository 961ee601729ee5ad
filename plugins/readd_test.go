package plugins

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestAddRightAfterDel: DEL answers while the kernel still waits for its grace periods. By then the container's interface has gone
// with its names, and another ADD may have them at once.
func TestAddRightAfterDel(t *testing.T) {
	for name, rounds := range map[string]int{"bridge": 200, "macvlan": 50, "overlay-vxlan": 50} {
		t.Run(name, func(t *testing.T) {
			a := everyAttaching()[name](t)
			container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
			a.add(t)
			a.succeed(t, "DEL")
			host := links(t, a.host)
			for range rounds {
				a.add(t)
				a.succeed(t, "DEL")
				if diff := cmp.Diff([][]string{host, {"lo"}}, [][]string{links(t, a.host), links(t, container)}); diff != "" {
					t.Fatalf("links of host and container after DEL (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestNothingPassesAfterDel: of a container that sends all the time, no packet arrives once DEL has answered.
func TestNothingPassesAfterDel(t *testing.T) {
	c := testnet.NewNS(t, "c")
	a := bridgeOn(t, c)
	for range 20 {
		gateway, _ := netip.AddrFromSlice(a.add(t).IPs[0].Gateway)
		flow, err := testnet.StartFlowEvery(200*time.Microsecond, c, a.host, gateway.Unmap())
		if err != nil {
			t.Fatal(err)
		}
		for flow.Count() < 10 {
			time.Sleep(time.Millisecond)
		}
		a.succeed(t, "DEL")
		time.Sleep(20 * time.Millisecond) // those that had arrived are counted
		arrived := flow.Count()
		time.Sleep(50 * time.Millisecond)
		if later := flow.Count(); later != arrived {
			t.Errorf("%d packets after DEL", later-arrived)
		}
		if err := flow.Stop(0); err == nil {
			t.Error("all packets arrived, also those after DEL")
		}
	}
}
