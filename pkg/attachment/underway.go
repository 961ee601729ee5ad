package attachment

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// recordTime is more than a runtime needs between the end of a plugin and the record in libcni's cache.
const recordTime = 200 * time.Millisecond

// call is a plugin that runs, for whatever runtime.
type call struct {
	process string
	command string
	of      types.GCAttachment
}

// calls are the plugins that run, by the environment of their processes.
func calls() (running []call) {
	processes, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, process := range processes {
		environ, err := os.ReadFile(process + "/environ")
		if err != nil {
			continue // it has ended, or is a thread of the kernel
		}
		values := map[string]string{}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if key, value, ok := bytes.Cut(variable, []byte("=")); ok && bytes.HasPrefix(key, []byte("CNI_")) {
				values[string(key)] = string(value)
			}
		}
		if values["CNI_COMMAND"] != "" {
			running = append(running, call{
				process: filepath.Base(process), command: values["CNI_COMMAND"],
				of: types.GCAttachment{ContainerID: values["CNI_CONTAINERID"], IfName: values["CNI_IFNAME"]},
			})
		}
	}
	return running
}

// underway is what plugins are attaching at the moment: libcni records it when they have ended.
func underway() (found []types.GCAttachment) {
	for _, c := range calls() {
		if c.command == "ADD" {
			found = append(found, c.of)
		}
	}
	return found
}

// awaitIdle waits for plugins that make or remove a container's attachments and outlive the process which has executed them.
func awaitIdle(ctx context.Context, containerID string) error {
	const interval = 50 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(interval) {
		running := calls()
		i := slices.IndexFunc(running, func(c call) bool {
			return c.of.ContainerID == containerID && (c.command == "ADD" || c.command == "DEL")
		})
		switch {
		case i < 0:
			return nil
		case ctx.Err() != nil || time.Now().After(end):
			return fmt.Errorf("container %s: process %s, a plugin of an earlier call, is still running (%s)", containerID, running[i].process, running[i].command)
		}
	}
}
