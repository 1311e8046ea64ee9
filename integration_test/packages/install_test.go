package packages

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"testing"

	"pidleash/integration_test/bed"
)

// installed has the files of make install below PREFIX, with their modes.
var installed = map[string]fs.FileMode{
	"bin/pidleash":                                  0o755,
	"share/man/man1/pidleash.1":                     0o644,
	"share/bash-completion/completions/pidleash":    0o644,
	"share/zsh/site-functions/_pidleash":            0o644,
	"share/fish/vendor_completions.d/pidleash.fish": 0o644,
}

// make install puts every file where its reader looks for it, whatever the umask, and make uninstall takes them away,
// and no other.
func TestInstall(t *testing.T) {
	t.Parallel()
	root := bed.OpenDir(t)
	make := func(target string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", `umask 077; exec make -s -C "$@"`, "sh", bed.ModuleFile(), target,
			"OUT="+bed.Pidleash, "DESTDIR="+root, "PREFIX=/opt/a b")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	make("install")
	prefix := filepath.Join(root, "opt/a b")
	if got := filesBelow(t, prefix); !equal(got, installed) {
		t.Errorf("make install made %v, want %v", got, installed)
	}
	out, err := exec.Command(filepath.Join(prefix, "bin/pidleash"), "true").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("what is installed does not run: %v: %s", err, out)
	}
	bed.WriteFile(t, filepath.Join(prefix, "bin/other"), "", 0o644)
	make("uninstall")
	if got := filesBelow(t, prefix); !equal(got, map[string]fs.FileMode{"bin/other": 0o644}) {
		t.Errorf("make uninstall left %v, want another's file only", got)
	}
	make("uninstall")
}

func equal(a, b map[string]fs.FileMode) bool {
	if len(a) != len(b) {
		return false
	}
	for name, mode := range a {
		if other, ok := b[name]; !ok || other != mode {
			return false
		}
	}
	return true
}

// filesBelow has the regular files below a directory, and their permissions. Anybody must be able to reach them.
func filesBelow(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	files := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && info.Mode().Perm()&0o055 != 0o055 {
				t.Errorf("%s is closed to others: %v", path, info.Mode())
			}
			return nil
		}
		name, err := filepath.Rel(root, path)
		files[name] = info.Mode()
		return err
	})
	bed.Must(t, err)
	return files
}
