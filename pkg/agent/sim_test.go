package agent

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/registry"
)

var (
	simFor  = flag.Duration("sim", 10*time.Second, "how long random schedules are tried")
	simFrom = flag.Uint64("sim.from", 1, "the first schedule")
	simSeed = flag.Uint64("sim.seed", 0, "the one schedule to try")
	simLog  = flag.Bool("sim.log", false, "log what the agents do")
)

const (
	simHold  = 20 * time.Minute
	simTTL   = time.Minute
	simLeave = 5 * time.Minute
	simDisk  = 100 * time.Millisecond
)

// world is a simulation.
type world struct {
	t      *testing.T
	random *rand.Rand
	start  time.Time
	etcd   *etcdsim.Sim
	mu     sync.Mutex // of hosts, for who is not the test
	hosts  []*simHost
	backup *etcdsim.Backup
	steps  []string
	// networks are those that were made and not deleted since all was well.
	networks map[string]bool
	// mixed has agents of the former release, and nothing happens that they cannot stand. In going back, the store mostly is restored, and
	// hosts are away for so long that others have their blocks.
	mixed, goingBack bool
	// routed is which containers reach which.
	routed map[[2]string]bool
	// moved is when a host's address changed last.
	moved map[string]time.Time
	// forgotten are blocks that the store has lost while nobody who runs knew of them, by the host that had them and key.
	forgotten map[string]bool
	// born is how many containers there were.
	born int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 99)), start: time.Now(), etcd: etcdsim.New(), networks: make(map[string]bool),
		routed: make(map[[2]string]bool), moved: make(map[string]time.Time), forgotten: make(map[string]bool),
	}
	for i := range 4 {
		w.hosts = append(w.hosts, w.newHost(fmt.Sprint("host", i), i, seed*100+uint64(i)))
	}
	return w
}

func (w *world) newHost(node string, i int, seed uint64) *simHost {
	return &simHost{
		world: w, node: node, hostname: node, machine: fmt.Sprint("machine", i), serial: i, vtep: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), etcd: w.etcd.Client(seed),
		disk: make(map[string]snapshot), small: make(map[string][]byte), kept: make(map[string]map[string]keptName), offered: make(map[string]agentapi.Network),
		programmed: make(map[string]snapshot), containers: make(map[string]map[netip.Addr]uint32), called: make(map[string]names.Record),
	}
}

// machines are those that are on.
func (w *world) machines() []*simHost {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hosts)
}

func (w *world) say(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf("%8v ", time.Since(w.start).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.steps, "\n"))
}

func (w *world) host() *simHost { return w.hosts[w.random.IntN(len(w.hosts))] }

var simNetworks = []string{"blue", "red"}

func simNetwork(name string) agentapi.Network {
	subnet := map[string]string{"blue": "10.42.0.0/24", "red": "10.43.0.0/24"}[name]
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet), BlockLength: 29}}}
}

// run is one schedule.
func (w *world) run() {
	defer func() {
		for _, h := range w.hosts {
			h.down()
		}
	}()
	if w.mixed = w.random.IntN(5) == 0; w.mixed {
		for _, h := range w.hosts {
			h.former = &formerAgent{host: h}
		}
	}
	w.goingBack = !w.mixed && w.random.IntN(3) == 0
	for _, h := range w.hosts {
		h.up()
	}
	time.Sleep(time.Second)
	client := registry.New(w.etcd.Client(77))
	for _, name := range simNetworks {
		if _, err := client.Create(context.Background(), simNetwork(name)); err != nil {
			w.t.Fatal(err)
		}
		w.networks[name] = true
	}
	time.Sleep(20 * time.Second)
	for half := range 2 {
		for range 20 {
			w.step()
			time.Sleep(time.Duration(w.random.Int64N(int64([]time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}[w.random.IntN(3)]))))
			synctest.Wait()
			w.check()
		}
		if half == 1 {
			for _, h := range w.hosts {
				h.upgrade()
			}
		}
		w.heal()
		synctest.Wait()
		w.check()
		w.checkSettled()
	}
	if text := w.etcd.Keys("/fairway/v1/cluster")["/fairway/v1/cluster"]; w.mixed && strings.Contains(text, "mixed") {
		w.fail("no agent of the former release runs any more, and the cluster is still %s", text)
	}
}

// Random schedules of what happens to hosts, agents and etcd, on a clock and a store that are simulated. After each step, no address
// is on two hosts, no block of a living container is another's, who reached whom still does, and no network is gone; when all
// is well again, health says so, and everybody has the way to everybody.
func TestSimulation(t *testing.T) {
	if !*simLog {
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
		defer slog.SetDefault(before)
	}
	if *simSeed != 0 {
		synctest.Test(t, func(t *testing.T) { newWorld(t, *simSeed).run() })
		return
	}
	ends, count := time.Now().Add(*simFor), 0
	for seed := *simFrom; time.Now().Before(ends); seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { newWorld(t, seed).run() }) })
		if count++; !ok {
			t.Fatalf("again by -run TestSimulation -sim.seed=%d -sim.log", seed)
		}
	}
	t.Logf("%d schedules", count)
}
