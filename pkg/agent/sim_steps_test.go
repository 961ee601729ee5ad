package agent

import (
	"net/netip"
	"strings"
	"time"
)

// step is one thing that happens, to a host and a network.
type step func(w *world, h *simHost, network string)

// steps are drawn as often as their weights say.
var steps = []struct {
	weight int
	step   step
}{
	{30, stepAdd}, {12, stepDelete}, {7, stepPin},
	{6, stepKill}, {8, stepStart}, {2, stepReboot}, {2, stepRename}, {2, stepUpgrade}, {2, stepMove}, {1, stepAddress}, {1, stepDisk}, {2, stepClone},
	{5, stepCut}, {7, stepMend}, {2, stepLossy}, {2, stepNotLossy},
	{2, stepDown}, {5, stepUp}, {3, stepBackup}, {2, stepRestore}, {1, stepWipe}, {2, stepNoSpace}, {3, stepSpace}, {2, stepCompact},
	{2, stepBadRecord}, {4, stepUnmake}, {3, stepMakeAgain},
}

// mixedSteps are what an agent of the former release stands.
var mixedSteps = []step{
	stepAdd, stepAdd, stepAdd, stepAdd, stepAdd, stepDelete, stepDelete, stepKill, stepStart, stepStart, stepStart, stepReboot, stepCut, stepMend, stepMend,
	stepDown, stepUp, stepCompact, stepPin, stepUpgrade, stepMove,
}

// backSteps have the store go back under hosts that come and go.
var backSteps = []step{
	stepAdd, stepAdd, stepAdd, stepAdd, stepAdd, stepAdd, stepDelete, stepDelete, stepDelete, stepKill, stepStart, stepStart, stepCut, stepMend, stepMend, stepMend,
	stepBackup, stepBackup, stepRestore, stepRestore, stepRestore, stepWipe, stepPin, stepClone, stepAway, stepAway,
}

// step does one thing at random.
func (w *world) step() {
	h, network := w.host(), simNetworks[w.random.IntN(len(simNetworks))]
	w.draw()(w, h, network)
}

func (w *world) draw() step {
	switch {
	case w.mixed:
		return mixedSteps[w.random.IntN(len(mixedSteps))]
	case w.goingBack:
		return backSteps[w.random.IntN(len(backSteps))]
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := w.random.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s.step
		}
	}
	panic("the weights do not add up")
}

// Containers.

func stepAdd(w *world, h *simHost, network string) {
	addr, ok := h.add(network)
	w.say("%s: add to %s: %v %v", h.node, network, addr, ok)
}

func stepDelete(w *world, h *simHost, network string) {
	for addr := range h.containers[network] {
		w.say("%s: delete %s of %s", h.node, addr, network)
		h.del(network, addr)
		return
	}
}

func stepPin(w *world, h *simHost, network string) {
	addr := subnets(network)[0].Addr().As4()
	addr[3] = byte(w.random.IntN(256))
	w.say("%s: pin %s of %s: %v", h.node, netip.AddrFrom4(addr), network, h.pin(network, netip.AddrFrom4(addr)))
}

// Hosts and their agents.

func stepKill(w *world, h *simHost, _ string) {
	w.say("%s: agent killed", h.node)
	h.down()
}

func stepStart(w *world, h *simHost, _ string) {
	w.say("%s: agent started", h.node)
	h.up()
}

func stepReboot(w *world, h *simHost, _ string) {
	w.say("%s: rebooted", h.node)
	h.reboot()
}

func stepRename(w *world, h *simHost, _ string) {
	h.hostname = strings.TrimSuffix(h.hostname, "b") + map[bool]string{true: "", false: "b"}[strings.HasSuffix(h.hostname, "b")]
	w.say("%s: renamed to %s", h.node, h.hostname)
}

func stepUpgrade(_ *world, h *simHost, _ string) { h.upgrade() }

func stepMove(w *world, h *simHost, _ string) {
	h.mu.Lock()
	addr := h.vtep.As4()
	addr[3] ^= 0x80
	h.vtep = netip.AddrFrom4(addr)
	w.moved[h.node] = time.Now()
	h.mu.Unlock()
	w.say("%s: moved to %s", h.node, h.vtep)
	if h.agent != nil {
		h.agent.wake.set()
	}
}

func stepAddress(w *world, h *simHost, _ string) {
	h.setAddress(h.without)
	w.say("%s: without its address %v", h.node, h.without)
}

func stepDisk(w *world, h *simHost, _ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = !h.full
	w.say("%s: disk full %v", h.node, h.full)
}

func stepClone(w *world, h *simHost, _ string) { w.visitOfClone(h) }

// Connections to etcd.

func stepCut(w *world, h *simHost, _ string) {
	w.say("%s: cut off from etcd", h.node)
	h.setCut(true)
}

func stepMend(w *world, _ *simHost, _ string) {
	w.say("all cuts mended")
	for _, h := range w.hosts {
		h.setCut(false)
	}
}

// stepAway cuts a host off for more than the hold.
func stepAway(w *world, h *simHost, _ string) {
	w.say("%s is away for long", h.node)
	h.setCut(true)
	time.Sleep(simHold + 5*time.Minute)
}

func stepLossy(w *world, h *simHost, _ string) {
	w.say("%s: answers are lost", h.node)
	h.etcd.SetLossy(true)
}

func stepNotLossy(w *world, h *simHost, _ string) {
	w.say("%s: answers are not lost", h.node)
	h.etcd.SetLossy(false)
}

// The store.

func stepDown(w *world, _ *simHost, _ string) {
	w.say("etcd down")
	w.etcd.SetDown(true)
}

func stepUp(w *world, _ *simHost, _ string) {
	w.say("etcd up")
	w.etcd.SetDown(false)
}

func stepBackup(w *world, _ *simHost, _ string) {
	w.say("backup")
	b := w.etcd.Backup()
	w.backup = &b
}

func stepRestore(w *world, _ *simHost, _ string) {
	if w.backup != nil {
		w.say("restored from the backup")
		w.etcd.Restore(*w.backup)
	}
}

func stepWipe(w *world, _ *simHost, _ string) {
	w.say("etcd emptied")
	w.etcd.Wipe()
	w.backup = nil
}

func stepNoSpace(w *world, _ *simHost, _ string) {
	w.say("no space")
	w.etcd.SetNoSpace(true)
}

func stepSpace(w *world, _ *simHost, _ string) {
	w.say("space")
	w.etcd.SetNoSpace(false)
}

func stepCompact(w *world, _ *simHost, _ string) {
	w.say("compacted")
	w.etcd.Compact()
}

func stepBadRecord(w *world, _ *simHost, _ string) { w.badRecord() }

// Networks.

func stepUnmake(w *world, _ *simHost, network string) { w.unmake(network) }

func stepMakeAgain(w *world, _ *simHost, network string) { w.makeAgain(network) }

var badRecords = [][2]string{
	{"net/blue/blocks/10.42.0.0/24", "host1"}, {"net/blue/blocks/10.99.0.0/29", "host1"}, {"net/blue/blocks/10.42.0.3/29", "x"}, {"net/red/nodes/x", "{"},
	{"net/red/nodes/x", `{"vtep": "127.0.0.1"}`}, {"net/blue/pins/1.2.3.4", "{}"}, {"nodes/x", "{"}, {"nodes/y", `{"version":1,"vtep":"192.0.2.10"}`},
	{"networks/green", "{"}, {"networks/green", `{"name":"green","vni":9,"requires":["encryption"],"subnets":[{"prefix":"10.50.0.0/16","blockLength":26}]}`},
	{"later/key", "x"}, {"net/blue/later/x", "1"},
	{"net/blue/names/host1/x", "{"}, {"net/blue/names/host1", "{}"},
	{"net/blue/names/x/1", `{"version":1,"owner":{"network":"blue","containerID":"x","ifname":"eth0"},"names":["c1"],"addresses":["10.42.0.9"]}`},
	{"net/red/names/host2/1", `{"version":1,"owner":{"network":"red","containerID":"x","ifname":"eth0"},"names":["c1"],"addresses":["10.42.0.9","10.99.0.1"]}`},
}

func (w *world) badRecord() {
	r := badRecords[w.random.IntN(len(badRecords))]
	w.say("bad record %s = %s", r[0], r[1])
	w.etcd.Put("/fairway/v1/"+r[0], r[1])
}

// heal ends all that is wrong, and waits until hosts have had the time to settle.
func (w *world) heal() {
	w.say("all is well again")
	w.etcd.SetDown(false)
	w.etcd.SetNoSpace(false)
	for _, r := range badRecords {
		w.etcd.Delete("/fairway/v1/" + r[0])
	}
	for _, h := range w.hosts {
		h.setCut(false)
		h.etcd.SetLossy(false)
		h.mu.Lock()
		h.full = false
		h.mu.Unlock()
		h.setAddress(true)
		h.up()
	}
	time.Sleep(10 * time.Minute)
	w.removeLeftOver()
}
