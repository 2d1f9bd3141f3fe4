-- Since when the vault of a passcode is retired: its last backup goes. Its locator is cleared with that, so that the passcode begins anew
-- in another folder, and its own folder is removed; the row stays for as long as parts name it.
ALTER TABLE vaults ADD COLUMN retired_at TIMESTAMPTZ;
