//! Organizations, whose data no other sees, and their users.

use crate::{
    ids::{OrganizationId, UserId},
    time::Timestamp,
};

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Kept for clients; no tool of this server asks for it.
    pub privileged_tools: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A user of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id, which requests name in a header.
    pub id: UserId,
    /// The organization whose data the user sees.
    pub organization_id: OrganizationId,
    /// The name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
