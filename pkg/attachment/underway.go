package attachment

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// recordTime is more than a runtime needs between the end of a plugin and the record in libcni's cache.
const recordTime = 200 * time.Millisecond

// underway is what plugins are attaching at the moment, for whatever runtime, by the environment of their processes: libcni
// records it when they have ended.
func underway() (found []types.GCAttachment) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well-formed
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended, or is a thread of the kernel
		}
		values := map[string]string{}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if key, value, ok := bytes.Cut(variable, []byte("=")); ok && bytes.HasPrefix(key, []byte("CNI_")) {
				values[string(key)] = string(value)
			}
		}
		if values["CNI_COMMAND"] == "ADD" {
			found = append(found, types.GCAttachment{ContainerID: values["CNI_CONTAINERID"], IfName: values["CNI_IFNAME"]})
		}
	}
	return found
}
