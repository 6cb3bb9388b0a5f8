package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// fileList has a line for each file below root: mode, owner, group, bytes, SHA-256 or what a link names, path.
func fileList(root string) ([]byte, error) {
	var out bytes.Buffer
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content string
		var size int64
		switch {
		case info.Mode().IsRegular():
			size = info.Size()
			if content, err = digest(path); err != nil {
				return err
			}
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
			content = "-> " + content
		default:
			content = "-"
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no owner", path)
		}
		fmt.Fprintf(&out, "%s %d %d %d %s /%s\n", info.Mode(), stat.Uid, stat.Gid, size, content, strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
		return nil
	})
	return out.Bytes(), err
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
