package orchestrator

import (
	"strings"
	"testing"
)

// TestRefusalsNameTheMend: what Orchestrator refuses at its word, for lack of a
// right or of a folder, comes with what to change, whatever the call.
func TestRefusalsNameTheMend(t *testing.T) {
	t.Parallel()
	const forbidden = `{"message":"You are not authorized!","errorCode":0,"unAuthorizedRequest":true,"__abp":true}`
	const noFolder = `{"message":"A folder is required for this action.","errorCode":1101,"traceId":"t"}`
	const unknownFolder = `{"message":"Folder does not exist or the user does not have access to the folder.","errorCode":1100,"traceId":"t"}`
	calls := map[string]func(*Client) error{
		"look up folder": func(c *Client) error {
			_, err := c.Folder(t.Context(), FolderRef{Key: testFolder.Key})
			return err
		},
		"list folders": func(c *Client) error {
			for _, err := range c.Folders(t.Context(), Query{}) {
				return err
			}
			return nil
		},
		"list releases": func(c *Client) error { _, err := c.ReleaseByName(t.Context(), testFolder, "r"); return err },
		"list queues":   func(c *Client) error { _, err := c.QueueDefinitionByName(t.Context(), testFolder, "q"); return err },
		"add queue item": func(c *Client) error {
			_, err := c.AddQueueItem(t.Context(), testFolder, QueueItemData{Name: "q"})
			return err
		},
		"bulk add queue items": func(c *Client) error {
			_, err := c.BulkAddQueueItems(t.Context(), testFolder, BulkAddQueueItemsRequest{QueueName: "q", CommitType: AllOrNothing, QueueItems: []QueueItemData{{}}})
			return err
		},
		"get queue item":               func(c *Client) error { _, err := c.QueueItem(t.Context(), testFolder, 1); return err },
		"get last retry of queue item": func(c *Client) error { _, err := c.QueueItemLastRetry(t.Context(), testFolder, 1); return err },
		"list queue items": func(c *Client) error {
			for _, err := range c.QueueItems(t.Context(), testFolder, Query{}) {
				return err
			}
			return nil
		},
		"start jobs": func(c *Client) error {
			_, err := c.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			return err
		},
		"get job": func(c *Client) error { _, err := c.Job(t.Context(), testFolder, 1); return err },
		"list jobs": func(c *Client) error {
			for _, err := range c.Jobs(t.Context(), testFolder, Query{}) {
				return err
			}
			return nil
		},
		"list robots": func(c *Client) error {
			for _, err := range c.FolderRobots(t.Context(), testFolder, Query{}) {
				return err
			}
			return nil
		},
		"list machines": func(c *Client) error {
			for _, err := range c.FolderMachines(t.Context(), testFolder, Query{}) {
				return err
			}
			return nil
		},
	}
	for op := range rights {
		if calls[op] == nil {
			t.Errorf("%s is not tried", op)
		}
	}
	for op, call := range calls {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			right, known := rights[op]
			if !known {
				t.Fatal("there is no word of the rights that it needs")
			}
			err := call(newTestClient(t, answers(403, forbidden)))
			wantText(t, asError(t, err, Denied).Error(), "403 Forbidden: You are not authorized!", "the login lacks a right", right.scope, right.permissions)
			if asError(t, err, Denied).LoginRefused() {
				t.Error("a right that is missing counts as a login that is refused")
			}
			err = call(newTestClient(t, answers(400, noFolder)))
			wantText(t, asError(t, err, Rejected).Error(), "error code 1101", "the call needs a folder: give its path, key or id")
			if strings.HasSuffix(op, "folders") || op == opFolder {
				return // made in no folder
			}
			err = call(newTestClient(t, answers(400, unknownFolder)))
			wantText(t, err.Error(), "error code 1100", "check the spelling, that the application or user behind the login is assigned to the folder")
		})
	}
}
