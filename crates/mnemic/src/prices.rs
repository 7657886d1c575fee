//! The list of what models cost and how large their windows are: the administrator's own file before the one
//! that comes with the program.

use std::{io::ErrorKind, path::PathBuf};

use mnemic_core::prices::PriceList;

use crate::{
    data::DataFolder,
    settings::{Settings, SettingsError},
};

/// The list that comes with the program.
const SHIPPED: &str = include_str!("../models.toml");

/// The name of the administrator's list in the data folder.
const FILE: &str = "models.toml";

/// Reads both lists.
///
/// # Errors
/// The administrator's file can't be read or has not the form of such a list.
pub fn read(settings: &Settings, folder: &DataFolder) -> Result<PriceList, SettingsError> {
    let shipped = parse(SHIPPED, &PathBuf::from(FILE))?;
    let named = settings.optional("models_file").map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| folder.path.join(FILE));
    let own = match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path)?,
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
            PriceList::default()
        }
        Err(error) => return Err(SettingsError::Unreadable { path, error }),
    };
    Ok(own.before(shipped))
}

fn parse(text: &str, path: &std::path::Path) -> Result<PriceList, SettingsError> {
    toml::from_str(text).map_err(|error| SettingsError::Malformed {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use mnemic_core::time::Timestamp;

    use super::*;

    #[test]
    fn every_entry_of_the_shipped_list_has_a_price_and_its_day() {
        let list = parse(SHIPPED, &PathBuf::from(FILE)).unwrap();
        let day = Timestamp::parse("2026-11-27T00:00:00Z").unwrap();
        let mut count = 0;
        for provider in &list.providers {
            for model in &provider.models {
                let url = format!("https://{}/v1", provider.hosts[0]);
                let price = list.price(&url, &model.name, day).unwrap();
                assert!(price.as_of.is_some(), "{}", model.name);
                let (input, output) = (price.rates.input, price.rates.output);
                assert!(0.0 < input && input <= output, "{}", model.name);
                assert!(
                    price.rates.cached_input.is_none_or(|cached| cached < input),
                    "{}",
                    model.name
                );
                count += 1;
            }
        }
        assert!(count >= 60, "{count}");
    }
}
