package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	// imageName is what runtimes make of the image's short name.
	imageName = "docker.io/local/bb:1"
	// webPort is where a container of the image serves webPage, unless it is given a command.
	webPort, webPage = "80", "hello"
)

// buildImage writes an image of busybox as `docker save` does, so that no registry is needed, and gives back its path.
func buildImage(t *testing.T) string {
	t.Helper()
	layer := archive(t, append(busybox(t), file{"etc/passwd", 0o644, []byte("root:x:0:0::/:/bin/sh\n")},
		file{"www/index.html", 0o644, []byte(webPage)}))
	sum := sha256.Sum256(layer)
	config := encode(t, map[string]any{
		"architecture": "amd64",
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": []string{"/bin/busybox"},
			"Cmd":        []string{"httpd", "-f", "-p", webPort, "-h", "/www"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	manifest := encode(t, []map[string]any{
		{"Config": "config.json", "RepoTags": []string{imageName}, "Layers": []string{"layer.tar"}},
	})
	image := archive(t, []file{
		{"config.json", 0o644, config}, {"layer.tar", 0o644, layer}, {"manifest.json", 0o644, manifest},
	})
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

type file struct {
	name    string
	mode    int64
	content []byte
}

// busybox is the static one of this machine.
func busybox(t *testing.T) []file {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return []file{{"bin/busybox", 0o755, content}}
}

func archive(t *testing.T, files []file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
