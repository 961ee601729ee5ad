package main

import "fmt"

// section shows one network mode, or the command line.
type section struct {
	mode  string // also the name of its binary
	about string
	steps []step
}

type step struct {
	title string
	run   func(*stage) error
}

// sections is the programme. A new mode joins with its section here.
func sections() []section {
	return []section{
		{mode: "fairway", about: "networks for any command, without a container runtime", steps: []step{
			{"a network", (*stage).createNetwork},
			{"two containers", (*stage).runTwo},
			{"what there is", (*stage).lookAtTwo},
			{"names", (*stage).findByName},
			{"the outside", (*stage).reachOutside},
			{"a second network", (*stage).connectSecond},
			{"the end", (*stage).killFirst},
		}},
		{mode: "bridge", about: "containers behind one address of the host", steps: []step{
			{"the network", (*stage).showBridge},
			{"ADD", (*stage).attachTwo},
			{"traffic", (*stage).traffic},
			{"CHECK", (*stage).checkBoth},
			{"drift", (*stage).drift},
			{"DEL", (*stage).detachBoth},
		}},
		{mode: "macvlan", about: "containers with MACs of their own on the physical network", steps: []step{
			{"the network", (*stage).showMacvlan},
			{"ADD", (*stage).attachToMacvlan},
			{"traffic", (*stage).trafficOfMacvlan},
			{"DEL", (*stage).detachFromMacvlan},
		}},
		{mode: "overlay-vxlan", about: "one network over two hosts, without a daemon", steps: []step{
			{"the hosts", (*stage).openFarHost},
			{"the network", (*stage).showOverlay},
			{"ADD", (*stage).attachToOverlay},
			{"traffic", (*stage).trafficOfOverlay},
			{"repair", (*stage).repairOverlay},
			{"DEL and GC", (*stage).detachFromOverlay},
		}},
		{mode: "fairwayd", about: "one network over two hosts, by a node agent: in clear, and encrypted", steps: []step{
			{"the hosts", (*stage).raiseHosts},
			{"two networks", (*stage).createClearAndSecret},
			{"what the cable between them shows", (*stage).listenToBoth},
			{"the end", (*stage).endHosts},
		}},
		{mode: "host", about: "a container that shares the host's network", steps: []step{
			{"ADD", (*stage).attachToHost},
			{"traffic", (*stage).trafficOfHost},
			{"another namespace", (*stage).refuseOther},
			{"DEL", (*stage).detachFromHost},
		}},
		{mode: "none", about: "a container with nothing but itself", steps: []step{
			{"ADD", (*stage).attachToNone},
			{"traffic", (*stage).loopbackOnly},
			{"DEL", (*stage).detachFromNone},
		}},
	}
}

func (s section) play(st *stage) error {
	st.page.section(s.mode, s.about)
	for _, step := range s.steps {
		st.page.step(step.title)
		if err := step.run(st); err != nil {
			return fmt.Errorf("%s, %s: %w", s.mode, step.title, err)
		}
	}
	return nil
}
